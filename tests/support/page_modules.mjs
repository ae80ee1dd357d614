/** Calls functions of the page's modules under Node: reads calls as JSON from stdin, prints what they return as JSON. */

import { text } from 'node:stream/consumers';

const site = process.argv[2];

/** Bytes travel as {"base64": …}. */
const revive = (_key, value) => (value?.base64 === undefined ? value : new Uint8Array(Buffer.from(value.base64, 'base64')));
const encode = (value) => (value instanceof Uint8Array || value instanceof Uint8ClampedArray ? { base64: Buffer.from(value).toString('base64') } : value);

/** An argument may be a call itself: {"call": […]}. */
async function call([module, name, args]) {
  const functions = await import(`${site}/${module}.js`);
  const values = await Promise.all(args.map((arg) => (arg?.call ? call(arg.call) : arg)));
  return functions[name](...values);
}

const results = [];
for (const one of JSON.parse(await text(process.stdin), revive)) results.push(encode(await call(one)));
console.log(JSON.stringify(results));
