/** What the page says about itself: how far the model is, what answers, where pictures go. */

import { announce, byId } from './elements.js';
import { words } from './strings.js';

/** @param {number} part of the model that has arrived, 0…1. */
export function progress(part) {
  byId('progress').value = part;
  byId('state').textContent = part < 1 ? words.getting(part) : words.opening;
}

/** Offer what there is. @param {string | null} problem why the device is not there. */
export function engines(device, server, problem) {
  byId('progress').hidden = true;
  byId('server').hidden = !server;
  byId('api').hidden = !server;
  byId('use-server').checked = !device && Boolean(server);
  byId('use-server').disabled = !device;
  if (device) return;
  byId('notice').hidden = false;
  byId('notice').textContent = [words.cannotBecause[problem], server && words.serverInstead].filter(Boolean).join(' ');
}

/** Say what answers now, and what that means for the pictures; ask for the key where the server does. */
export function choice(chosen, server, asksKey) {
  const sent = Boolean(chosen) && chosen === server;
  const ready = sent ? words.readyOnServer : words.ready;
  byId('state').textContent = chosen ? ready : words.cannot;
  byId('key-form').hidden = !(sent && asksKey);
  byId('privacy').hidden = !chosen;
  byId('privacy').classList.toggle('sent', sent);
  byId('privacy-words').textContent = sent ? words.onServer(location.host) : words.onDevice;
  announce(`${byId('state').textContent} ${chosen ? byId('privacy-words').textContent : ''}`.trim());
}
