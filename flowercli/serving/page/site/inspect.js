/** Refuse what cannot be a photograph before anything decodes it, for its thumbnail or for an answer. */

import { identify } from './formats.js';
import { Problem } from './problems.js';

// Those of `flowers classify`, which decodes a JPEG at a smaller scale.
const MAX_PIXELS = 89_478_485;
const MAX_JPEG_PIXELS = 268_435_456;
const MAX_BYTES = 64 * 2 ** 20;

/**
 * @param {Blob} file
 * @returns {Promise<{kind: string, width?: number, height?: number}>} what can be told without decoding.
 * @throws {Problem} `empty`, `not_an_image`, `truncated`, `too_large` or `not_found`.
 */
export async function inspect(file) {
  if (file.size === 0) throw new Problem('empty');
  if (file.size > MAX_BYTES) throw new Problem('too_large', { megabytes: file.size / 1e6 });
  const found = identify(await read(file));
  if (!found) throw new Problem('not_an_image');
  requirePixels(found, found.kind === 'jpeg' ? MAX_JPEG_PIXELS : MAX_PIXELS);
  if (!found.complete) throw new Problem('truncated');
  return found;
}

/** Refuse what a browser, which decodes every picture at its full size, should not be asked for. */
export const requireModest = (found) => requirePixels(found, MAX_PIXELS);

function requirePixels({ width, height }, limit) {
  if (width * height > limit) throw new Problem('too_large', { megapixels: (width * height) / 1e6, limit: limit / 1e6 });
}

async function read(file) {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new Problem('not_found'); // Moved or deleted after it was chosen, or a folder.
  }
}
