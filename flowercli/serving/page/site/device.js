/** Answers on this device: the page's end of the worker. */

import { Problem } from './problems.js';

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

  /**
   * Load the model.
   *
   * @param {{graph: object, runtime: object, config: object}} parts of `page.json`, and the bundle's `config.json`.
   * @throws {Problem} `not_loaded`: they could not be fetched; `failed`: this browser cannot run it.
   */
  open(parts) {
    return this.#send({ type: 'open', parts });
  }

  /** @param {File} file @param {object} found what `inspect` told of it. @returns {Promise<object>} what `answer` takes. @throws {Problem} */
  classify(file, found) {
    return this.#send({ type: 'classify', file, found });
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
    else reject(new Problem(code, details));
  }

  /** The worker itself is broken: its script could not be loaded. */
  #fail(event) {
    event.preventDefault();
    for (const { reject } of this.#waiting.values()) reject(new Problem('failed'));
    this.#waiting.clear();
  }
}
