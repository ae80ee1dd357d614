/** One picture on the page: its thumbnail, and what is known of it. */

import { bars } from './bars.js';
import { element } from './elements.js';
import { problem, share, title, words } from './strings.js';

let made = 0;

export class Card {
  /** @param {File} file @param {(card: Card) => void} remove called when its button is pressed. */
  constructor(file, remove) {
    made += 1;
    this.file = file;
    this.code = null;
    this.outputs = null;
    this.found = null;
    this.problem = '';
    this.heading = element('h3', { id: `picture-${made}` }, words.waiting);
    this.body = element('div', { class: 'body' });
    this.button = element('button', { type: 'button', class: 'remove', 'aria-label': words.remove(file.name) });
    this.button.addEventListener('click', () => remove(this));
    const name = element('p', { class: 'file' }, file.name);
    const text = element('div', { class: 'text' }, this.heading, this.body, name);
    this.image = element('img', { alt: words.photograph(file.name), decoding: 'async', hidden: '' });
    const frame = element('div', { class: 'frame' }, this.image);
    this.element = element('li', { class: 'picture waiting' }, frame, text, this.button);
  }

  /** Show the picture, and that it is being looked at. What the browser cannot show stays hidden. */
  look() {
    this.heading.textContent = words.looking;
    this.image.addEventListener('load', () => { this.image.hidden = false; });
    if (!this.image.src) this.image.src = URL.createObjectURL(this.file);
  }

  /** Show that it waits again, after a problem that may be gone. */
  again() {
    this.code = null;
    this.element.className = 'picture waiting';
    this.heading.textContent = words.waiting;
    this.body.replaceChildren();
  }

  /** Show an answer, and return what of it is read out. */
  answer(found) {
    this.found = found;
    const [name, value] = found.all_predictions[0];
    const [heading, detail] = {
      unsure: [words.unsure, words.unsureMore(name, value)],
      not_a_known_flower: [words.unknown(found.among), words.unknownMore(name, value)],
    }[found.reason] ?? [title(name), words.sure(value)];
    this.#show(found.reason ? 'rejected' : 'answered', heading, detail);
    const latin = found.reason ? null : found.scientific_name;
    if (latin) this.body.prepend(element('p', { class: 'latin' }, element('i', { lang: 'la' }, latin)));
    this.body.append(bars(found.all_predictions));
    return found.reason ? `${heading}. ${detail}` : `${heading}, ${share(value)}`;
  }

  /** Show why there is no answer, and return what of it is read out. */
  fail(code, details) {
    this.code = code;
    const reason = problem(code, details);
    this.problem = reason;
    this.#show('failed', words.problem, reason);
    return `${words.problem}. ${reason}`;
  }

  /** Whether it has no answer yet, and no problem either. */
  get waits() {
    return this.element.classList.contains('waiting');
  }

  /** Let go of the picture. */
  discard() {
    URL.revokeObjectURL(this.image.src);
    this.element.remove();
  }

  #show(state, heading, detail) {
    this.element.className = `picture ${state}`;
    this.heading.textContent = heading;
    this.body.replaceChildren(element('p', { class: 'detail' }, detail));
  }
}
