/**
 * The service worker: the page's own files are kept on this device, so that it answers without a network once it was opened.
 *
 * VERSION and FILES, names with their hashes, stand before this text: who serves the page writes them there. Other files are another version, this
 * script is another one then, and the browser runs it beside the old one until all files are here.
 */

const PREFIX = `flowers ${registration.scope} `;
const CACHE = PREFIX + VERSION;
// From here on it is the server that is at fault, or a proxy whose server is gone.
const LEAST_FAULT = 500;
// A network that does not answer is none: what is kept is at hand.
const PATIENCE_MS = 3000;
const ADDRESSES = new Set(Object.keys(FILES).map((file) => new URL(file, registration.scope).href));

// Whether the page of a window came from here: the rest of it then does too, of the same version.
const fromHere = new Map();
// That of the window that was opened last: what its workers ask for comes under names of their own.
let lastFromHere = false;

addEventListener('install', (event) => event.waitUntil(keep()));
addEventListener('activate', (event) => event.waitUntil(Promise.all([forgetOthers(), clients.claim()])));
addEventListener('fetch', (event) => {
  const address = ours(event.request);
  if (address) event.respondWith(event.request.mode === 'navigate' ? open(event, address) : part(event, address));
});

async function keep() {
  const cache = await caches.open(CACHE);
  // Asked of the server again: it says of most that the browser has them. Each must be the one that is meant.
  await cache.addAll(Object.entries(FILES).map(([file, integrity]) => new Request(file, { cache: 'no-cache', integrity })));
  // Of a page that was redirected, as from ./ to ./index.html, no browser takes what is kept.
  const page = await cache.match('./');
  await cache.put('./', new Response(page.body, { status: page.status, headers: page.headers }));
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

async function open({ request, resultingClientId }, address) {
  const kept = await find(address);
  const decide = (isFromHere) => {
    fromHere.set(resultingClientId, isFromHere);
    lastFromHere = isFromHere;
  };
  try {
    const response = await (kept ? inTime(navigate(request)) : navigate(request));
    if (kept && response.status >= LEAST_FAULT) throw new Error(`${response.status}`);
    decide(false);
    return response;
  } catch (error) {
    if (!kept) throw error;
    decide(true);
    return kept;
  }
}

async function part({ request, clientId }, address) {
  const kept = await find(address);
  if (kept && (fromHere.get(clientId) ?? lastFromHere)) return kept;
  try {
    return await fetch(request, { cache: 'no-cache' });
  } catch (error) {
    if (!kept) throw error;
    return kept;
  }
}

/** Ask the server, not what the browser took for fresh enough: a new model is seen at once. The browser follows redirects itself. */
const navigate = ({ url, headers }) => fetch(url, { headers, cache: 'no-cache', redirect: 'manual' });

// Another version may have taken the place of this one while a page of it was opened.
const find = async (address) => (await caches.match(address, { cacheName: CACHE })) ?? caches.match(address);

function inTime(promise) {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('no answer in time')), PATIENCE_MS);
    promise.then(resolve, reject);
  });
}
