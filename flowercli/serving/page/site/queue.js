/** A few tasks at a time, in order; one that is dropped while it waits never runs. */
export class Queue {
  /** @param {number} limit how many run at once. */
  constructor(limit) {
    this.limit = limit;
    this.running = 0;
    this.waiting = [];
  }

  /** @param {() => Promise<void>} task @returns {() => void} takes it out, if it has not begun. */
  add(task) {
    this.waiting.push(task);
    this.#next();
    return () => {
      this.waiting = this.waiting.filter((other) => other !== task);
    };
  }

  get idle() {
    return this.running === 0 && this.waiting.length === 0;
  }

  async #next() {
    if (this.running >= this.limit || this.waiting.length === 0) return;
    const task = this.waiting.shift();
    this.running += 1;
    try {
      await task();
    } finally {
      this.running -= 1;
      this.#next();
    }
  }
}
