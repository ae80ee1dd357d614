/** What answers: this device, or the server; which of them there are, which one is chosen, and what that means. */

import { Device } from './device.js';
import { byId } from './elements.js';
import { PictureProblem } from './problems.js';
import { isReady, Server } from './server.js';
import { words } from './strings.js';

export class Engine {
  #device = null;
  #server = null;
  #started;
  #start;

  constructor() {
    this.#started = new Promise((resolve) => { this.#start = resolve; });
    byId('use-server').addEventListener('change', () => this.#showChoice());
  }

  /** Find out what there is, and open it. */
  async start() {
    const settings = await fetchJson('./page.json');
    const config = await fetchJson(settings.config);
    showClasses(config.label_names);
    const [serverReady, problem] = await Promise.all([settings.server && isReady(), this.#openDevice(settings)]);
    if (serverReady) this.#server = new Server(config.flowers.rejection_threshold);
    this.#showWhatThereIs(problem);
    this.#start();
  }

  /** @param {File} file @returns {Promise<object>} the answer. @throws {PictureProblem} */
  async classify(file) {
    await this.#started;
    const chosen = this.#server && byId('use-server').checked ? this.#server : this.#device;
    if (!chosen) throw new PictureProblem('nothing');
    return chosen.classify(file);
  }

  /** Return why this device cannot answer, or null. */
  async #openDevice(settings) {
    if (!settings.runtime) return 'missing';
    const device = new Device(showProgress);
    try {
      await device.open(settings);
    } catch {
      return 'failed';
    }
    this.#device = device;
    return null;
  }

  #showWhatThereIs(problem) {
    byId('progress').hidden = true;
    const toggle = byId('use-server');
    byId('server').hidden = !this.#server;
    toggle.checked = !this.#device;
    toggle.disabled = !this.#device;
    if (problem) showNotice(noticeFor(problem, Boolean(this.#server)));
    this.#showChoice();
  }

  #showChoice() {
    const onServer = byId('use-server').checked;
    byId('state').textContent = !this.#device && !this.#server ? words.cannot : onServer ? words.readyOnServer : words.ready;
    byId('privacy').hidden = !this.#device && !this.#server;
    byId('privacy').textContent = onServer ? words.onServer(location.host) : words.onDevice;
  }
}

function noticeFor(problem, server) {
  if (problem === 'missing') return server ? words.withoutRuntime : words.nothingInstalled;
  return server ? words.runtimeFailed : words.nothingAnswers;
}

async function fetchJson(url) {
  return (await fetch(url)).json();
}

function showClasses(names) {
  byId('knows').hidden = false;
  byId('knows-title').textContent = words.knows(names);
  byId('knows-names').textContent = words.names(names);
}

function showProgress(part) {
  byId('progress').value = part;
  byId('state').textContent = part < 1 ? words.getting(part) : words.opening;
}

function showNotice(text) {
  byId('notice').hidden = false;
  byId('notice').textContent = text;
}
