/**
 * The service worker: the page's own files are kept on this device, so that it answers without a network once it was opened.
 *
 * VERSION and FILES stand before this text: who serves the page writes them there. Other files are another version, this
 * script is another one then, and the browser runs it beside the old one until all files are here.
 */

const PREFIX = `flowers ${registration.scope} `;
const CACHE = PREFIX + VERSION;
// A network that does not answer is none: what is kept is at hand.
const PATIENCE_MS = 3000;
const ADDRESSES = new Set(FILES.map((file) => new URL(file, registration.scope).href));

// Whether the page that was opened last came from here; the rest of it then does too, of the same version.
let fromHere = false;

addEventListener('install', (event) => event.waitUntil(keep()));
addEventListener('activate', (event) => event.waitUntil(Promise.all([forgetOthers(), clients.claim()])));
addEventListener('fetch', (event) => {
  const address = ours(event.request);
  if (address) event.respondWith(event.request.mode === 'navigate' ? open(event.request, address) : part(event.request, address));
});

async function keep() {
  const cache = await caches.open(CACHE);
  // Asked of the server again: it says of most that the browser has them.
  await cache.addAll(FILES.map((file) => new Request(file, { cache: 'no-cache' })));
  await skipWaiting();
}

async function forgetOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)));
}

/** The address of a file of the page that is asked for, without what stands behind `?` or `#`; null for all else. */
function ours({ method, url }) {
  const address = new URL(url);
  address.search = address.hash = '';
  const whole = address.href.replace(/\/index\.html$/, '/');
  return method === 'GET' && ADDRESSES.has(whole) ? whole : null;
}

async function open(request, address) {
  const kept = await find(address);
  try {
    const response = await (kept ? inTime(fromServer(request.url)) : fromServer(request.url));
    fromHere = false;
    return response;
  } catch (error) {
    if (!kept) throw error;
    fromHere = true;
    return kept;
  }
}

async function part(request, address) {
  const kept = await find(address);
  if (kept && fromHere) return kept;
  try {
    return await fromServer(request);
  } catch (error) {
    if (!kept) throw error;
    return kept;
  }
}

/** Ask the server, not what the browser took for fresh enough: a new model is seen at once. */
const fromServer = (request) => fetch(request, { cache: 'no-cache' });

const find = async (address) => (await caches.open(CACHE)).match(address);

function inTime(promise) {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('no answer in time')), PATIENCE_MS);
    promise.then(resolve, reject);
  });
}
