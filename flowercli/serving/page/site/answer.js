/** From what the graph gives to the object that `flowers classify --json` prints; the same rule for rejection. */

const DIGITS = 1e6;
const TOP = 5;
// From here on a picture rather shows one of the flowers than not.
const LIKELY = 0.5;
const round = (value) => Math.round(value * DIGITS) / DIGITS;

/** Read the parts of the bundle's `config.json` that an answer depends on. */
export function readRules({ label_names: classNames, flowers: section }) {
  const scientificNames = section.scientific_names ?? classNames.map(() => null);
  return { classNames, scientificNames, threshold: section.rejection_threshold };
}

/**
 * Put what the graph gives for one picture into an answer.
 *
 * @param {{probabilities: ArrayLike<number>, known: number}} outputs the probabilities `[C]` of all classes, and how sure
 *   it is that the picture shows one of them.
 * @param {object} rules of `readRules`.
 * @param {string[] | null} only the class names that may be answered; all without them.
 */
export function answer({ probabilities, known }, { classNames, scientificNames, threshold }, only = null) {
  const may = [...classNames.keys()].filter((index) => only?.includes(classNames[index]) ?? true);
  const mass = only ? may.reduce((sum, index) => sum + probabilities[index], 0) : 1;
  // Where nothing is left for the classes that may be answered, they are even.
  const shares = new Map(may.map((index) => [index, mass > 0 ? probabilities[index] / mass : 1 / may.length]));
  const order = [...may].sort((a, b) => shares.get(b) - shares.get(a));
  // Nothing speaks against one of them where that is more likely than not.
  const sure = known * Math.min(mass / LIKELY, 1);
  const rejected = sure < threshold;
  const [best] = order;
  return {
    predicted_class: classNames[best],
    scientific_name: scientificNames[best],
    class_index: best,
    confidence: round(shares.get(best)),
    known: round(sure),
    shares: Object.fromEntries(may.map((index) => [classNames[index], round(shares.get(index))])),
    all_predictions: order.slice(0, TOP).map((index) => [classNames[index], round(shares.get(index))]),
    rejected,
    reason: !rejected ? null : sure >= LIKELY ? 'unsure' : 'not_a_known_flower',
  };
}
