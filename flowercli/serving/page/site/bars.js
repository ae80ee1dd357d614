/** The classes of an answer as bars: the likely ones at once, the others on demand. */

import { element } from './elements.js';
import { flower, share, words } from './strings.js';

const SHOWN = 3;

/** @param {[string, number][]} predictions most probable first. @returns {HTMLElement[]} */
export function bars(predictions) {
  const first = list(predictions.slice(0, SHOWN));
  if (predictions.length <= SHOWN) return [first];
  const summary = element('summary', {}, words.more(predictions.length - SHOWN));
  const rest = element('details', {}, summary, list(predictions.slice(SHOWN)));
  return [first, rest];
}

function list(predictions) {
  // The role, because Safari takes it from lists without markers.
  return element('ul', { class: 'bars', role: 'list' }, ...predictions.map(bar));
}

function bar([name, value]) {
  const track = element('span', { class: 'track', 'aria-hidden': 'true' }, element('span', { class: 'fill' }));
  track.firstChild.style.setProperty('--share', value);
  const label = element('span', { class: 'name' }, flower(name));
  return element('li', {}, label, track, element('span', { class: 'share' }, share(value)));
}
