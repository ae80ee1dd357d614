/** The most probable classes of an answer as bars. */

import { element } from './elements.js';
import { flower, share } from './strings.js';

/** @param {[string, number][]} predictions most probable first. @returns {HTMLElement} */
export function bars(predictions) {
  // The role, because Safari takes it from lists without markers.
  return element('ul', { class: 'bars', role: 'list' }, ...predictions.map(bar));
}

function bar([name, value]) {
  const track = element('span', { class: 'track', 'aria-hidden': 'true' }, element('span', { class: 'fill' }));
  track.firstChild.style.setProperty('--share', value);
  const label = element('span', { class: 'name' }, flower(name));
  return element('li', {}, label, track, element('span', { class: 'share' }, share(value)));
}
