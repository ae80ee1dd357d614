/** The model, off the page's own thread: opens it once, then answers one picture after the other. */

import { decode } from './decode.js';
import { fetchAll } from './fetching.js';
import { cropAndResize, readSpec } from './preprocess.js';
import { Problem } from './problems.js';

// More threads than this gain nothing for one small picture.
const MAX_THREADS = 4;
// Of a graph that was exported before, the first alone.
const OUTPUTS = ['probabilities', 'known'];
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
  model = { ort, session, spec: readSpec(config.pretrained_cfg) };
}

async function classify({ file, found }) {
  const { ort, session, spec } = model;
  const pixels = cropAndResize(await decode(file, found, spec), spec);
  const tensor = new ort.Tensor('uint8', pixels, [1, spec.height, spec.width, 3]);
  const wanted = OUTPUTS.filter((name) => session.outputNames.includes(name));
  const { probabilities, known } = await session.run({ pixels: tensor }, wanted);
  return { probabilities: probabilities.data, known: known?.data[0] ?? Math.max(...probabilities.data) };
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
