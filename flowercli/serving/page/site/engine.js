/** What answers: this device, or the server; which of them there are, which one is chosen, and what that means. */

import { answer, readRules } from './answer.js';
import { Device } from './device.js';
import { byId } from './elements.js';
import { Problem } from './problems.js';
import { isReady, Server } from './server.js';
import * as show from './situation.js';

export class Engine {
  #device = null;
  #server = null;
  #asksKey = false;
  #rules;
  #only;
  #started;
  #start;

  /** @param {import('./only.js').Only} only says which classes may be answered. */
  constructor(only) {
    this.#only = only;
    this.#started = new Promise((resolve) => { this.#start = resolve; });
    byId('use-server').addEventListener('change', () => this.#showChoice());
  }

  /** Find out what there is, and open it. */
  async start() {
    let problem = 'not_loaded';
    try {
      const settings = await fetchJson('./page.json');
      const config = await fetchJson(settings.config);
      this.#rules = readRules(config);
      this.#only.offer(this.#rules, settings.only);
      [problem] = await Promise.all([this.#openDevice(settings, config), this.#openServer(settings, config)]);
    } finally {
      show.engines(this.#device, this.#server, problem);
      this.#showChoice();
      this.#start();
    }
  }

  /** @param {File} file @param {object} found what `inspect` told of it. @returns {Promise<object>} what `answer` takes. @throws {Problem} */
  async classify(file, found) {
    await this.#started;
    const chosen = this.#chosen();
    if (!chosen) throw new Problem('nothing');
    try {
      return await chosen.classify(file, found);
    } catch (error) {
      // What the browser cannot read, the server may.
      if (error.code === 'not_supported' && this.#server) error.details = { ...error.details, server: true };
      throw error;
    }
  }

  /** The answer among the classes that may be answered now. @param {object} outputs of `classify`. */
  answer(outputs) {
    return { ...answer(outputs, this.#rules, this.#only.names), among: this.#only.among };
  }

  #chosen() {
    return byId('use-server').checked ? this.#server : this.#device;
  }

  #showChoice() {
    show.choice(this.#chosen(), this.#server, this.#asksKey);
  }

  /** Return why this device cannot answer, or null. */
  async #openDevice({ graph, runtime }, config) {
    if (!runtime) return 'not_installed';
    const device = new Device(show.progress);
    try {
      await device.open({ graph, runtime, config });
    } catch (error) {
      return error.code;
    }
    this.#device = device;
    return null;
  }

  async #openServer(settings, config) {
    if (!settings.server || !(await isReady())) return;
    this.#asksKey = settings.key;
    this.#server = new Server(config.label_names, () => byId('key').value);
  }
}

async function fetchJson(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}
