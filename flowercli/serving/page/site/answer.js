/** From what the graph gives to the object that `flowers classify --json` prints; the same rules for rejection. */

import { distance, readNovelty } from './novelty.js';

const DIGITS = 1e6;
const round = (value) => Math.round(value * DIGITS) / DIGITS;

/** Read the parts of the bundle's `config.json` that an answer depends on. */
export function readRules({ label_names: classNames, flowers: section }) {
  return { classNames, threshold: section.rejection_threshold, novelty: readNovelty(section) };
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
  const unknown = novelty !== null && distance(embedding, novelty) > novelty.limit;
  return {
    predicted_class: classNames[best],
    class_index: best,
    confidence: round(probabilities[best]),
    all_predictions: order.map((index) => [classNames[index], round(probabilities[index])]),
    rejected: unsure || unknown,
    reason: unknown ? 'unknown' : unsure ? 'unsure' : null,
  };
}
