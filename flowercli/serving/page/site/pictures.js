/** The pictures on the page: added, answered one after the other, removed; and what a screen reader hears of it. */

import { Card } from './card.js';
import { csv, save } from './csv.js';
import { announce, byId } from './elements.js';
import { inspect } from './inspect.js';
import { Queue } from './queue.js';
import { words } from './strings.js';

// The worker takes one at a time; the second is there when it is free.
const AT_ONCE = 2;
// Up to here each answer is read out; of more, their number.
const READ_OUT = 3;

export class Pictures {
  #cards = [];
  #queue = new Queue(AT_ONCE);
  #round = [];

  /**
   * @param {(file: File, found: object) => Promise<object>} classify gives what the model says of a picture.
   * @param {(outputs: object) => object} answer makes an answer of that, without the model.
   */
  constructor(classify, answer) {
    this.classify = classify;
    this.answer = answer;
    byId('clear').addEventListener('click', () => this.#clear());
    byId('save').addEventListener('click', () => save(words.csvName, csv(this.#cards.filter((card) => !card.waits))));
  }

  /** @param {File[]} files */
  add(files) {
    if (this.#queue.idle) this.#round = [];
    const cards = files.map((file) => new Card(file, (card) => this.#remove(card)));
    byId('pictures').prepend(...cards.map((card) => card.element));
    this.#cards.unshift(...cards);
    this.#showCount();
    announce(words.saidStart(cards.length));
    this.#ask(cards);
  }

  /** Ask again about those that had one of these problems. @param {string[]} codes */
  again(codes) {
    const cards = this.#cards.filter(({ code }) => codes.includes(code));
    for (const card of cards) card.again();
    this.#showCount();
    if (cards.length > 0) announce(words.saidAgain(cards.length));
    this.#ask(cards);
  }

  /** Make the answers anew, of what the model said. @returns {number} how many. */
  answerAgain() {
    const cards = this.#cards.filter(({ outputs }) => outputs);
    for (const card of cards) card.answer(this.answer(card.outputs));
    return cards.length;
  }

  #ask(cards) {
    for (const card of cards) card.cancel = this.#queue.add(() => this.#work(card));
  }

  async #work(card) {
    try {
      const found = await inspect(card.file);
      card.look();
      card.outputs = await this.classify(card.file, found);
      this.#done(card, card.answer(this.answer(card.outputs)), false);
    } catch (error) {
      this.#done(card, card.fail(error.code ?? 'failed', error.details), true);
    }
  }

  #done(card, said, failed) {
    this.#round.push({ said: words.saidAnswer(card.file.name, said), failed });
    this.#showCount();
    if (this.#cards.some((card) => card.waits)) return;
    const problems = this.#round.filter((entry) => entry.failed).length;
    const few = this.#round.length <= READ_OUT;
    announce(few ? this.#round.map((entry) => entry.said).join(' ') : words.saidMany(this.#round.length, problems));
    this.#round = [];
  }

  #remove(card) {
    const place = this.#cards.indexOf(card);
    card.cancel();
    card.discard();
    this.#cards.splice(place, 1);
    this.#showCount();
    // Where the focus was is gone: to what took its place, or back to the beginning.
    const next = this.#cards[Math.min(place, this.#cards.length - 1)];
    (next?.button ?? byId('choose')).focus();
    announce(words.saidRemoved(card.file.name));
  }

  #clear() {
    for (const card of this.#cards) {
      card.cancel();
      card.discard();
    }
    this.#cards = [];
    this.#showCount();
    byId('choose').focus();
    announce(words.saidCleared);
  }

  #showCount() {
    const any = this.#cards.length > 0;
    const done = this.#cards.filter((card) => !card.waits);
    byId('answers').hidden = !any;
    byId('count').textContent = words.count(done.length, this.#cards.length, done.filter(({ code }) => code).length);
    byId('save').disabled = done.length === 0;
    document.body.classList.toggle('busy', any);
  }
}
