/** Turn a WebP picture upright where the browser does not: Chromium honours the EXIF orientation of JPEG and PNG files only. */

const ORIENTATION = 0x0112;
// A black picture of 2 x 1 pixels, whose orientation says that it is to be shown as 1 x 2.
const PROBE = 'UklGRk4AAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TA4AAAAvAQAAAAcQEf0PRET/A0VYSUYaAAAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA=';
// For a canvas, by orientation, of a stored width and height.
const TRANSFORMS = {
  2: (w) => [-1, 0, 0, 1, w, 0],
  3: (w, h) => [-1, 0, 0, -1, w, h],
  4: (w, h) => [1, 0, 0, -1, 0, h],
  5: () => [0, 1, 1, 0, 0, 0],
  6: (w, h) => [0, 1, -1, 0, h, 0],
  7: (w, h) => [0, -1, -1, 0, h, w],
  8: (w) => [0, -1, 1, 0, 0, w],
};
let honoured = null;

/** Read the orientation out of a block of EXIF data; 1 where it says none. */
export function readOrientation(bytes) {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = data.getUint32(0) === 0x45786966 ? 6 : 0; // Some writers keep "Exif" in front.
  const little = data.getUint16(start) === 0x4949;
  const first = start + data.getUint32(start + 4, little);
  for (let entry = 0; entry < data.getUint16(first, little); entry++) {
    const at = first + 2 + 12 * entry;
    if (data.getUint16(at, little) === ORIENTATION) return data.getUint16(at + 8, little);
  }
  return 1;
}

/** Return the picture, or a canvas with it upright. @param {ImageBitmap} bitmap @param {number} orientation */
export async function upright(bitmap, orientation) {
  if (!TRANSFORMS[orientation] || (await isHonoured())) return bitmap;
  const { width, height } = bitmap;
  const canvas = orientation >= 5 ? new OffscreenCanvas(height, width) : new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.setTransform(...TRANSFORMS[orientation](width, height));
  context.drawImage(bitmap, 0, 0);
  return canvas;
}

async function isHonoured() {
  honoured ??= (await createImageBitmap(new Blob([Uint8Array.from(atob(PROBE), (c) => c.charCodeAt(0))]))).height === 2;
  return honoured;
}
