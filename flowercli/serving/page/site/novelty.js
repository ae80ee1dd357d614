/** Whether a picture is of something the model was never shown: `inference/novelty.py`, on the same numbers. */

/** Read the subspace of the training photographs from a bundle's section; null where it has none. */
export function readNovelty({ novelty, embedding_size: size }) {
  return novelty ? { mean: halves(novelty.mean), basis: halves(novelty.basis), limit: novelty.limit, size } : null;
}

/** The distance of an embedding `[D]` from the subspace, 0 to 2. */
export function distance(embedding, { mean, basis, size }) {
  const norm = Math.max(Math.hypot(...embedding), 1e-12);
  const residual = Float64Array.from(embedding, (value, index) => value / norm - mean[index]);
  const centred = residual.slice();
  for (let from = 0; from < basis.length; from += size) {
    const direction = basis.subarray(from, from + size);
    const share = direction.reduce((sum, value, index) => sum + value * centred[index], 0);
    direction.forEach((value, index) => { residual[index] -= share * value; });
  }
  return Math.hypot(...residual);
}

/** Read base64 of little-endian float16 values. */
function halves(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const data = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / 2 }, (_, index) => half(data.getUint16(2 * index, true)));
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}
