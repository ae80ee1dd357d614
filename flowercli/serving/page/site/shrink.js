/** Mean values of square blocks: what libjpeg's decoding at a smaller scale comes close to. */

/**
 * Shrink RGBA pixels by a whole number; blocks at the right and lower border may be smaller.
 *
 * @param {{data: Uint8ClampedArray, width: number, height: number}} image
 * @param {number} by 1 or more.
 * @returns {Uint8ClampedArray} RGBA, `[ceil(height / by), ceil(width / by), 4]`.
 */
export function shrink({ data, width, height }, by) {
  if (by === 1) return data;
  const columns = Math.ceil(width / by);
  const rows = Math.ceil(height / by);
  const result = new Uint8ClampedArray(columns * rows * 4);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const block = mean(data, width, column * by, row * by, Math.min(by, width - column * by), Math.min(by, height - row * by));
      result.set(block, (row * columns + column) * 4);
    }
  }
  return result;
}

function mean(data, stride, left, top, width, height) {
  let red = 0;
  let green = 0;
  let blue = 0;
  for (let y = top; y < top + height; y++) {
    const end = (y * stride + left + width) * 4;
    for (let at = (y * stride + left) * 4; at < end; at += 4) {
      red += data[at];
      green += data[at + 1];
      blue += data[at + 2];
    }
  }
  const count = width * height;
  return [red / count, green / count, blue / count, 255]; // The array clamps and rounds.
}
