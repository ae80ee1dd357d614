/** From a file to upright RGBA pixels on white, JPEGs at the smallest scale that still has the model's input size. */

import { requireModest } from './inspect.js';
import { jpegScale } from './preprocess.js';
import { Problem } from './problems.js';
import { shrink } from './shrink.js';
import { upright } from './upright.js';

// Pixels that are copied from the canvas at once: 16 MB.
const STRIP_PIXELS = 4_000_000;
const READ_BY_FEW = ['heic', 'tiff'];

/**
 * Decode a picture.
 *
 * @param {Blob} file
 * @param {{kind: string, width?: number, height?: number, orientation?: number}} found what `inspect` told of it.
 * @param {object} spec what `readSpec` gave.
 * @returns {Promise<{data: Uint8ClampedArray, width: number, height: number}>} RGBA.
 * @throws {Problem} `too_large`, `unreadable`, or `not_supported` where other browsers may do it.
 */
export async function decode(file, found, spec) {
  requireModest(found);
  let bitmap;
  try {
    // No colour conversion: `classify` takes the stored values, too. EXIF orientation is honoured, but for WebP.
    bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none' });
  } catch {
    throw new Problem(READ_BY_FEW.includes(found.kind) ? 'not_supported' : 'unreadable', found);
  }
  try {
    const picture = await upright(bitmap, found.orientation);
    return readPixels(picture, found.kind === 'jpeg' ? jpegScale(bitmap.width, bitmap.height, spec) : 1);
  } finally {
    bitmap.close();
  }
}

/** Copy a bitmap strip by strip, each shrunk at once, so that a large picture never lies in memory a second time. */
function readPixels(picture, scale) {
  const { width, height } = picture;
  const result = { width: Math.ceil(width / scale), height: Math.ceil(height / scale) };
  const rows = Math.min(height, Math.max(1, Math.floor(STRIP_PIXELS / width / scale)) * scale);
  const data = new Uint8ClampedArray(result.width * result.height * 4);
  const canvas = new OffscreenCanvas(width, rows);
  const context = canvas.getContext('2d', { alpha: false, willReadFrequently: true });
  for (let top = 0; top < height; top += rows) {
    const here = Math.min(rows, height - top);
    context.fillStyle = 'white';
    context.fillRect(0, 0, width, rows);
    context.drawImage(picture, 0, top, width, here, 0, 0, width, here);
    const strip = shrink(context.getImageData(0, 0, width, here), scale);
    data.set(strip, (top / scale) * result.width * 4);
  }
  return { ...result, data };
}
