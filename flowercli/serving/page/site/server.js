/** Answers from the server that the page came from. */

import { Problem } from './problems.js';

const READY = './v2/health/ready';
const CLASSIFY = './v1/classify';
const TRIES = 3;
const MAX_WAIT_SECONDS = 10;
const BY_STATUS = { 413: 'too_large', 429: 'busy', 503: 'busy' };

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
  /** @param {number} threshold the bundle's; the server says that it rejects, not for which of the two reasons. */
  constructor(threshold) {
    this.threshold = threshold;
  }

  /** @param {File} file @returns {Promise<object>} the answer. @throws {Problem} */
  async classify(file) {
    const response = await this.#post(file);
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new Problem(BY_STATUS[response.status] ?? 'refused', { message: body.detail ?? body.title });
    const found = body.results?.[0] ?? body;
    if (found.error) throw new Problem(found.error.code, found.error);
    return {
      ...found,
      all_predictions: Object.entries(found.all_predictions),
      reason: found.rejected ? (found.confidence < this.threshold ? 'unsure' : 'unknown') : null,
    };
  }

  /** Send a picture; wait and send it again where the server asks for that. */
  async #post(file) {
    for (let left = TRIES; ; left--) {
      const form = new FormData();
      form.append('file', file);
      let response;
      try {
        response = await fetch(CLASSIFY, { method: 'POST', body: form });
      } catch {
        throw new Problem('offline');
      }
      const wait = Number(response.headers.get('Retry-After'));
      if (BY_STATUS[response.status] !== 'busy' || left <= 1 || !(wait <= MAX_WAIT_SECONDS)) return response;
      await pause(Math.max(wait, 0.5));
    }
  }
}
