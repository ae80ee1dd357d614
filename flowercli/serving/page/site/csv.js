/** The answers as a file for a spreadsheet: the columns of `flowers classify --format csv` (RFC 4180). */

const COLUMNS = ['path', 'predicted_class', 'scientific_name', 'confidence', 'known', 'rejected', 'reason', 'error', 'message'];
// A spreadsheet takes a cell that begins with one of these for a formula, and runs it.
const FORMULA = /^[=+@-]/;
const BREAKS = /[",\r\n]/;

/** @param {import('./card.js').Card[]} cards each with an answer or a problem. @returns {string} */
export function csv(cards) {
  const classes = Object.keys(cards.find(({ found }) => found)?.found.shares ?? {});
  const rows = cards.map((card) => (card.code ? failed(card, classes) : answered(card, classes)));
  return [[...COLUMNS, ...classes], ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}

/** Have the browser save a text as a file. */
export function save(name, text) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/csv' }));
  link.download = name;
  link.click();
  // Not at once: the browser still reads it.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function answered({ file, found }, classes) {
  const { predicted_class: name, scientific_name: latin, confidence, known, rejected, reason, shares } = found;
  return [path(file), name, latin ?? '', digits(confidence), digits(known), rejected, reason ?? '', '', '', ...classes.map((one) => digits(shares[one]))];
}

function failed({ file, code, problem }, classes) {
  return [path(file), '', '', '', '', '', '', code, problem, ...classes.map(() => '')];
}

const path = ({ name }) => (FORMULA.test(name) ? `./${name}` : name);
const digits = (value) => value.toFixed(6);

function cell(value) {
  const text = FORMULA.test(value) ? `'${value}` : String(value);
  return BREAKS.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
