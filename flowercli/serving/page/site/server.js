/** Answers from the server that the page came from. */

import { Problem } from './problems.js';

const READY = './v2/health/ready';
const CLASSIFY = './v1/classify';
const TRIES = 3;
const MAX_WAIT_SECONDS = 10;
// It has too much to do, and says when to come again.
const BUSY = [429, 503];

const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

/** Tell whether a server is there that answers. */
export async function isReady() {
  try {
    return (await fetch(READY)).ok;
  } catch {
    return false;
  }
}

export class Server {
  #threshold;
  #key;

  /**
   * @param {number} threshold the bundle's; the server says that it rejects, not for which of the two reasons.
   * @param {() => string} key gives the key that the user typed; it is kept nowhere else.
   */
  constructor(threshold, key) {
    this.#threshold = threshold;
    this.#key = key;
  }

  /** @param {File} file @returns {Promise<object>} the answer. @throws {Problem} */
  async classify(file) {
    const key = this.#key();
    const response = await post(file, key ? { Authorization: `Bearer ${asBytes(key)}` } : {});
    const body = await response.json().catch(() => ({}));
    if (response.status === 401) throw new Problem(key ? 'wrong_key' : 'no_key');
    if (!response.ok) throw new Problem(body.code ?? 'failed', { message: body.detail });
    const [found] = body.results;
    return { ...found, all_predictions: Object.entries(found.all_predictions), reason: this.#reason(found) };
  }

  #reason({ rejected, confidence }) {
    if (!rejected) return null;
    return confidence < this.#threshold ? 'unsure' : 'unknown';
  }
}

/** A header holds bytes, one a character: with any other, the browser would not even ask. */
const asBytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

/** Send a picture; wait and send it again where the server asks for that. */
async function post(file, headers) {
  for (let tries = 1; ; tries++) {
    const form = new FormData();
    form.append('file', file);
    const response = await fetch(CLASSIFY, { method: 'POST', body: form, headers }).catch(() => {
      throw new Problem('offline');
    });
    const seconds = Number(response.headers.get('Retry-After'));
    if (!BUSY.includes(response.status) || tries === TRIES || seconds > MAX_WAIT_SECONDS) return response;
    await pause(seconds);
  }
}
