/** The model, off the page's own thread: opens it once, then answers one picture after the other. */

import { answer, readRules } from './answer.js';
import { decode } from './decode.js';
import { fetchAll } from './fetching.js';
import { cropAndResize, readSpec } from './preprocess.js';
import { Problem } from './problems.js';

// More threads than this gain nothing for one small picture.
const MAX_THREADS = 4;
let model = null;

async function open({ graph, runtime, config }) {
  const tell = (share) => postMessage({ type: 'progress', share });
  const parts = [graph, { url: runtime.wasm, bytes: runtime.bytes }];
  const [ort, [graphBytes, wasmBytes]] = await Promise.all([import(runtime.script), fetchAll(parts, tell)]).catch(() => {
    throw new Problem('not_loaded');
  });
  ort.env.wasm.wasmBinary = wasmBytes;
  // Threads share memory, which browsers allow only to pages that are served with COOP and COEP.
  ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(MAX_THREADS, navigator.hardwareConcurrency) : 1;
  ort.env.logLevel = 'error';
  const session = await ort.InferenceSession.create(graphBytes, { executionProviders: ['wasm'] });
  model = { ort, session, spec: readSpec(config.pretrained_cfg), rules: readRules(config) };
}

async function classify({ file, found }) {
  const { ort, session, spec, rules } = model;
  const pixels = cropAndResize(await decode(file, found, spec), spec);
  const tensor = new ort.Tensor('uint8', pixels, [1, spec.height, spec.width, 3]);
  const { probabilities, embedding } = await session.run({ pixels: tensor });
  return answer(probabilities.data, embedding.data, rules);
}

async function reply(id, work) {
  try {
    postMessage({ type: 'done', id, value: await work() });
  } catch (error) {
    const known = error instanceof Problem;
    if (!known) console.error(error);
    postMessage({ type: 'failed', id, code: known ? error.code : 'failed', details: known ? error.details : {} });
  }
}

// Pictures wait for the model, and for each other.
let last = Promise.resolve();

addEventListener('message', ({ data }) => {
  const work = data.type === 'open' ? () => open(data.parts) : () => classify(data);
  last = last.then(() => reply(data.id, work));
});
