/** Pillow's separable resampling with its 8-bit fixed point, so that the page and `preprocess` make the same pixels. */

const PRECISION_BITS = 32 - 8 - 2;
const HALF = 1 << (PRECISION_BITS - 1);
const CHANNELS = 4; // As a canvas gives them; the fourth is not looked at.

const bilinear = (x) => Math.max(0, 1 - Math.abs(x));

function bicubic(signed) {
  const x = Math.abs(signed);
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));
const lanczos = (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0);
const box = (x) => (x > -0.5 && x <= 0.5 ? 1 : 0);

const FILTERS = {
  bilinear: { weight: bilinear, support: 1 },
  bicubic: { weight: bicubic, support: 2 },
  lanczos: { weight: lanczos, support: 3 },
  box: { weight: box, support: 0.5 },
};

export const INTERPOLATIONS = [...Object.keys(FILTERS), 'nearest'];

/**
 * Resample a box of a picture.
 *
 * @param {{data: Uint8Array | Uint8ClampedArray, width: number, height: number}} image RGBA, row by row.
 * @param {[number, number, number, number]} region left, upper, right, lower, in pixels of the image.
 * @param {number} width of the result.
 * @param {number} height of the result.
 * @param {string} interpolation one of INTERPOLATIONS.
 * @returns {Uint8Array} RGB, `[height, width, 3]`.
 */
export function resample(image, region, width, height, interpolation) {
  const [left, top, right, bottom] = region.map(Math.fround); // Pillow holds its box in 32 bits.
  if (interpolation === 'nearest') return nearest(image, [left, top, right, bottom], width, height);
  const filter = FILTERS[interpolation];
  const columns = coefficients(image.width, left, right, width, filter);
  const rows = coefficients(image.height, top, bottom, height, filter);
  const firstRow = rows[0].start;
  const lastRow = rows[height - 1].start + rows[height - 1].weights.length;
  const between = horizontally(image, columns, firstRow, lastRow);
  return vertically(between, rows, firstRow, width);
}

/** For each pixel of the result: where its sources start, and their weights in fixed point. */
function coefficients(size, from, to, count, { weight, support }) {
  const scale = Math.fround(to - from) / count;
  const stretch = Math.max(1, scale);
  const reach = support * stretch;
  return Array.from({ length: count }, (_, index) => {
    const center = from + (index + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(size, Math.trunc(center + reach + 0.5));
    const weights = new Float64Array(Math.max(0, end - start));
    let sum = 0;
    for (let i = 0; i < weights.length; i++) {
      weights[i] = weight((i + start - center + 0.5) * (1 / stretch));
      sum += weights[i];
    }
    return { start, weights: Int32Array.from(weights, (value) => fixed(sum === 0 ? value : value / sum)) };
  });
}

const fixed = (value) => Math.trunc(value * (1 << PRECISION_BITS) + (value < 0 ? -0.5 : 0.5));

const clip8 = (sum) => Math.min(255, Math.max(0, sum >> PRECISION_BITS));

function horizontally({ data, width }, columns, firstRow, lastRow) {
  const result = new Uint8Array((lastRow - firstRow) * columns.length * 3);
  let out = 0;
  for (let y = firstRow; y < lastRow; y++) {
    for (const { start, weights } of columns) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let at = (y * width + start) * CHANNELS;
      for (let i = 0; i < weights.length; i++, at += CHANNELS) {
        red += data[at] * weights[i];
        green += data[at + 1] * weights[i];
        blue += data[at + 2] * weights[i];
      }
      result[out++] = clip8(red);
      result[out++] = clip8(green);
      result[out++] = clip8(blue);
    }
  }
  return result;
}

function vertically(data, rows, firstRow, width) {
  const stride = width * 3;
  const result = new Uint8Array(rows.length * stride);
  rows.forEach(({ start, weights }, y) => {
    const first = (start - firstRow) * stride;
    for (let x = 0; x < stride; x++) {
      let sum = HALF;
      for (let i = 0; i < weights.length; i++) sum += data[first + i * stride + x] * weights[i];
      result[y * stride + x] = clip8(sum);
    }
  });
  return result;
}

function nearest({ data, width: imageWidth }, [left, top, right, bottom], width, height) {
  const columns = steps(left, right, width);
  const result = new Uint8Array(width * height * 3);
  steps(top, bottom, height).forEach((row, y) => {
    columns.forEach((column, x) => {
      const at = (row * imageWidth + column) * CHANNELS;
      result.set(data.subarray(at, at + 3), (y * width + x) * 3);
    });
  });
  return result;
}

/** The source of each pixel of the result, added up as Pillow does: its rounding decides at the borders. */
function steps(from, to, count) {
  const step = Math.fround(to - from) / count;
  let at = from + step * 0.5;
  return Array.from({ length: count }, () => {
    const here = Math.trunc(at);
    at += step;
    return here;
  });
}
