/** The ways in which pictures come: dropped anywhere, pasted, chosen, photographed. */

import { words } from './strings.js';

let pasted = 0;

/**
 * @param {HTMLElement} zone is marked while something is dragged over the page.
 * @param {HTMLInputElement[]} inputs of type file.
 * @param {(files: File[]) => void} take called with what came; empty where it held no file.
 */
export function listen(zone, inputs, take) {
  for (const input of inputs) {
    input.addEventListener('change', () => {
      take([...input.files]);
      input.value = ''; // So that the same file can be chosen again.
    });
  }
  listenForDrops(zone, take);
  document.addEventListener('paste', ({ clipboardData }) => {
    const files = [...(clipboardData?.files ?? [])];
    if (files.length > 0) take(files.map(named));
  });
}

function listenForDrops(zone, take) {
  // Counted, because entering a child fires before leaving its parent does.
  let inside = 0;
  const mark = (change) => {
    inside = Math.max(0, inside + change);
    zone.classList.toggle('over', inside > 0);
  };
  document.addEventListener('dragenter', () => mark(1));
  document.addEventListener('dragleave', () => mark(-1));
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', async (event) => {
    event.preventDefault();
    mark(-inside);
    take(await dropped(event.dataTransfer));
  });
}

/** The files of a drop, with those in dropped folders. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  return (await Promise.all(entries.map(filesOf))).flat();
}

async function filesOf(entry) {
  if (entry.name.startsWith('.')) return [];
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const children = [];
  for (;;) {
    // A reader gives at most a hundred entries at a time.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    children.push(...some);
  }
  return (await Promise.all(children.map(filesOf))).flat();
}

/** Browsers call every pasted picture image.png. */
function named(file) {
  if (file.name && file.name !== 'image.png') return file;
  pasted += 1;
  return new File([file], words.pasted(pasted), { type: file.type });
}
