/** From what the graph gives to the object that `flowers classify --json` prints; the same rules for rejection. */

const DIGITS = 1e6;
const round = (value) => Math.round(value * DIGITS) / DIGITS;

/** Reads the parts of `config.json` that an answer depends on; throws where it is damaged. */
export function readRules(config) {
  const { rejection_threshold: threshold, novelty, embedding_size: size } = config.flowers;
  return {
    classNames: config.label_names,
    threshold,
    novelty: novelty && { mean: halves(novelty.mean), basis: halves(novelty.basis), limit: novelty.limit, size },
  };
}

/**
 * Put the probabilities `[C]` and the embedding `[D]` of one picture into an answer.
 *
 * `reason` is said in words by the page: `unsure`, `unknown`, or null where the answer is not rejected.
 */
export function answer(probabilities, embedding, { classNames, threshold, novelty }) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const best = order[0];
  const unsure = probabilities[best] < threshold;
  const unknown = Boolean(novelty) && distance(embedding, novelty) > novelty.limit;
  return {
    predicted_class: classNames[best],
    class_index: best,
    confidence: round(probabilities[best]),
    all_predictions: order.map((index) => [classNames[index], round(probabilities[index])]),
    rejected: unsure || unknown,
    reason: unknown ? 'unknown' : unsure ? 'unsure' : null,
  };
}

/** The distance of a unit embedding from the subspace of the training photographs: `inference/novelty.py`. */
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
export function halves(text) {
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
