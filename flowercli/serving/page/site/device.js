/** Answers on this device: the page's end of the worker. */

import { PictureProblem } from './problems.js';

export class Device {
  #worker = new Worker(new URL('./classify-worker.js', import.meta.url), { type: 'module' });
  #waiting = new Map();
  #sent = 0;
  #tell;

  /** @param {(share: number) => void} tell called with how much of the model has arrived. */
  constructor(tell) {
    this.#tell = tell;
    this.#worker.addEventListener('message', ({ data }) => this.#receive(data));
    this.#worker.addEventListener('error', (event) => this.#fail(event));
  }

  /** Load the model. Rejects where this browser cannot. */
  open(settings) {
    return this.#send({ type: 'open', settings });
  }

  /** @param {File} file @returns {Promise<object>} the answer. @throws {PictureProblem} */
  classify(file) {
    return this.#send({ type: 'classify', file });
  }

  #send(message) {
    this.#sent += 1;
    const id = this.#sent;
    this.#worker.postMessage({ ...message, id });
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #receive({ type, id, share, value, code, details }) {
    if (type === 'progress') {
      this.#tell(share);
      return;
    }
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (type === 'done') resolve(value);
    else reject(new PictureProblem(code, details));
  }

  /** The worker itself is broken: its script could not be loaded. */
  #fail(event) {
    event.preventDefault();
    for (const { reject } of this.#waiting.values()) reject(new PictureProblem('failed'));
    this.#waiting.clear();
  }
}
