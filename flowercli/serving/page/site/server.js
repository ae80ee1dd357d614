/** Answers from the server that the page came from. */

import { Problem } from './problems.js';

const READY = './v2/health/ready';
// All classes, so that the page can choose among them without sending the picture again.
const CLASSIFY = './v1/classify?top_k=0';
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
  #classNames;
  #key;

  /** @param {string[]} classNames the bundle's. @param {() => string} key gives what the user typed; it is kept nowhere else. */
  constructor(classNames, key) {
    this.#classNames = classNames;
    this.#key = key;
  }

  /** @param {File} file @returns {Promise<object>} what `answer` takes. @throws {Problem} */
  async classify(file) {
    const key = this.#key();
    const response = await post(file, key ? { Authorization: `Bearer ${asBytes(key)}` } : {});
    const body = await response.json().catch(() => ({}));
    if (response.status === 401) throw new Problem(key ? 'wrong_key' : 'no_key');
    if (!response.ok) throw new Problem(body.code ?? 'failed', { message: body.detail });
    const [{ all_predictions: shares, known }] = body.results;
    // A server that answers among some classes only leaves the others out.
    return { probabilities: this.#classNames.map((name) => shares[name] ?? 0), known };
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
