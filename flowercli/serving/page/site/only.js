/** The flowers that may be answered: all, or those that are ticked. They stand in the address, so that it can be kept. */

import { announce, byId, element } from './elements.js';
import { flower, words } from './strings.js';

const KEY = 'only';
// So many are found without a field to search them.
const FEW = 12;

export class Only {
  #classNames = [];
  #served = null;
  #boxes = [];

  /** @param {() => number} changed is called after each change; it tells how many pictures were answered again. */
  constructor(changed) {
    byId('only-find').addEventListener('input', () => this.#find());
    byId('only-list').addEventListener('change', () => this.#changed(changed));
    byId('only-all').addEventListener('click', () => {
      for (const box of this.#boxes) box.checked = false;
      byId('only-summary').focus(); // The button is gone.
      this.#changed(changed);
    });
  }

  /**
   * Offer the classes of a model, and take those that the address names.
   *
   * @param {object} rules of `readRules`. @param {string[] | null} served those that the server answers, if not all.
   */
  offer({ classNames, scientificNames }, served) {
    this.#classNames = classNames;
    this.#served = served;
    const offered = served ?? classNames;
    const asked = (new URLSearchParams(location.search).get(KEY) ?? '').split(',').map((name) => name.trim()).filter(Boolean);
    const missing = asked.filter((name) => !offered.some((other) => isCalled(other, name)));
    const choices = offered.map((name) => choice(name, scientificNames[classNames.indexOf(name)]));
    this.#boxes = choices.map((label) => label.control);
    for (const box of this.#boxes) box.checked = asked.some((name) => isCalled(box.value, name));
    byId('only-list').append(...choices);
    byId('only-search').hidden = offered.length <= FEW;
    byId('only-missing').hidden = missing.length === 0;
    byId('only-missing').textContent = words.notOffered(missing);
    byId('only').hidden = false;
    this.#summarize();
  }

  /** The class names that may be answered; null for all of the model's. */
  get names() {
    return this.#ticked.length > 0 ? this.#ticked : this.#served;
  }

  get #ticked() {
    return this.#boxes.filter((box) => box.checked).map((box) => box.value);
  }

  /** How many flowers may be answered, and whether they were chosen. */
  get among() {
    return { count: (this.names ?? this.#classNames).length, chosen: this.names !== null };
  }

  #changed(changed) {
    byId('only-missing').hidden = true;
    this.#summarize();
    keepInAddress(this.#ticked);
    announce(words.saidOnly(byId('only-summary').textContent, changed()));
  }

  #summarize() {
    const ticked = this.#ticked;
    const count = this.#boxes.length;
    byId('only-all').hidden = ticked.length === 0;
    byId('only-summary').textContent = ticked.length > 0 ? words.askedAbout(ticked, count) : words.knows(count, this.#served !== null);
  }

  #find() {
    const text = byId('only-find').value.trim().toLowerCase();
    for (const { parentElement: label } of this.#boxes) label.hidden = !label.textContent.toLowerCase().includes(text);
    announce(words.saidFound(this.#boxes.filter((box) => !box.parentElement.hidden).length));
  }
}

const isCalled = (className, name) => className === name || flower(className) === name;

function choice(name, scientificName) {
  const box = element('input', { type: 'checkbox', value: name, autocomplete: 'off' });
  const latin = scientificName ? [' ', element('i', { lang: 'la' }, scientificName)] : [];
  return element('label', { class: 'choice' }, box, element('span', {}, flower(name), ...latin));
}

/** Commas stay as they are, so that the address can be read and typed. */
function keepInAddress(names) {
  const query = new URLSearchParams(location.search);
  query.delete(KEY);
  const parts = [query.toString(), names.length > 0 ? `${KEY}=${names.map(encodeURIComponent).join(',')}` : ''].filter(Boolean);
  history.replaceState(null, '', `${location.pathname}${parts.length > 0 ? '?' : ''}${parts.join('&')}${location.hash}`);
}
