/** From a file to upright RGBA pixels on white, JPEGs at the smallest scale that still has the model's input size. */

import { identify } from './formats.js';
import { jpegScale } from './preprocess.js';
import { PictureProblem } from './problems.js';
import { shrink } from './shrink.js';

// The limits of `inference/preprocess.py`, but that a browser decodes a JPEG at its full size.
const MAX_PIXELS = 89_478_485;
const MAX_BYTES = 64 * 2 ** 20;
// Pixels that are copied from the canvas at once: 16 MB.
const STRIP_PIXELS = 4_000_000;

/**
 * Decode a picture.
 *
 * @param {Blob} file
 * @param {object} spec what `readSpec` gave.
 * @returns {Promise<{data: Uint8ClampedArray, width: number, height: number}>} RGBA.
 * @throws {PictureProblem}
 */
export async function decode(file, spec) {
  const found = await inspect(file);
  let bitmap;
  try {
    // No colour conversion: `classify` takes the stored values, too. EXIF orientation is honoured by default.
    bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none' });
  } catch {
    throw new PictureProblem(['heic', 'tiff'].includes(found.kind) ? 'not_supported' : 'unreadable', found);
  }
  try {
    const scale = found.kind === 'jpeg' ? jpegScale(bitmap.width, bitmap.height, spec) : 1;
    return readPixels(bitmap, scale);
  } finally {
    bitmap.close();
  }
}

/** Refuse what cannot be a photograph before it is decoded. */
async function inspect(file) {
  if (file.size === 0) throw new PictureProblem('empty');
  if (file.size > MAX_BYTES) throw new PictureProblem('too_large', { megabytes: file.size / 1e6 });
  let bytes;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new PictureProblem('not_found');
  }
  const found = identify(bytes);
  if (!found) throw new PictureProblem('not_an_image');
  if (found.width * found.height > MAX_PIXELS) {
    throw new PictureProblem('too_large', { megapixels: (found.width * found.height) / 1e6 });
  }
  if (!found.complete) throw new PictureProblem('truncated');
  return found;
}

/** Copy a bitmap strip by strip, each shrunk at once, so that a large picture never lies in memory a second time. */
function readPixels(bitmap, scale) {
  const { width, height } = bitmap;
  const result = { width: Math.ceil(width / scale), height: Math.ceil(height / scale) };
  const rows = Math.min(height, Math.max(1, Math.floor(STRIP_PIXELS / width / scale)) * scale);
  const data = new Uint8ClampedArray(result.width * result.height * 4);
  const canvas = new OffscreenCanvas(width, rows);
  const context = canvas.getContext('2d', { alpha: false, willReadFrequently: true });
  for (let top = 0; top < height; top += rows) {
    const here = Math.min(rows, height - top);
    context.fillStyle = 'white';
    context.fillRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, top, width, here, 0, 0, width, here);
    const strip = shrink(context.getImageData(0, 0, width, here), scale);
    data.set(strip, (top / scale) * result.width * 4);
  }
  return { ...result, data };
}
