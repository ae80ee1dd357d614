/** Have the page kept on this device, and say when it is. */

import { byId } from './elements.js';
import { words } from './strings.js';

/** Where a browser does not offer it, as over `http` from another machine, the page is as it was. */
export async function keepHere() {
  if (!('serviceWorker' in navigator)) return;
  try {
    await navigator.serviceWorker.register('./offline.js');
    await navigator.serviceWorker.ready;
    byId('kept').textContent = words.kept;
  } catch {
    // No room, private browsing, or no network just now: it is tried again when the page is opened.
  }
}
