/** What kind of file the bytes are, how large its picture is, and whether its end is there; nothing is decoded. */

import { readJpeg } from './jpeg.js';
import { readOrientation } from './upright.js';

const text = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));
const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const whole = { complete: true };

/** A row a format: how to recognise it, and what can be told of it. `heic` and `tiff` are read by few browsers. */
const FORMATS = [
  { kind: 'jpeg', is: (b) => b[0] === 0xff && b[1] === 0xd8, read: readJpeg },
  { kind: 'png', is: (b) => text(b, 1, 4) === 'PNG', read: readPng },
  { kind: 'gif', is: (b) => text(b, 0, 4) === 'GIF8', read: readGif },
  { kind: 'webp', is: (b) => text(b, 0, 4) === 'RIFF' && text(b, 8, 12) === 'WEBP', read: readWebp },
  { kind: 'bmp', is: (b) => text(b, 0, 2) === 'BM', read: readBmp },
  { kind: 'avif', is: (b) => text(b, 4, 8) === 'ftyp' && /^avi[fs]/.test(text(b, 8, 12)), read: () => whole },
  { kind: 'heic', is: (b) => text(b, 4, 8) === 'ftyp' && /^(he[iv]|mif1|msf1)/.test(text(b, 8, 12)), read: () => whole },
  { kind: 'tiff', is: (b) => ['II*\0', 'MM\0*'].includes(text(b, 0, 4)), read: () => whole },
];

/**
 * Look at the bytes of a file.
 *
 * @param {Uint8Array} bytes
 * @returns {{kind: string, complete: boolean, width?: number, height?: number, orientation?: number} | null} null: none of the formats.
 */
export function identify(bytes) {
  const format = FORMATS.find(({ is }) => is(bytes));
  if (!format) return null;
  try {
    return { kind: format.kind, ...format.read(bytes) };
  } catch (error) {
    if (error instanceof RangeError) return { kind: format.kind, complete: false }; // It ends within its head.
    throw error;
  }
}

function readPng(bytes) {
  const data = view(bytes);
  const size = { width: data.getUint32(16), height: data.getUint32(20) };
  let at = 8;
  while (at + 12 <= bytes.length) {
    const next = at + 12 + data.getUint32(at);
    if (text(bytes, at + 4, at + 8) === 'IEND') return { ...size, complete: next <= bytes.length };
    at = next;
  }
  return { ...size, complete: false };
}

function readGif(bytes) {
  const data = view(bytes);
  // Decoders take what is there of later frames, so only a file that ends within its first one is cut off for sure.
  return { width: data.getUint16(6, true), height: data.getUint16(8, true), complete: bytes.length > 32 };
}

function readWebp(bytes) {
  const data = view(bytes);
  const complete = data.getUint32(4, true) + 8 <= bytes.length;
  if (text(bytes, 12, 16) !== 'VP8X') return { complete };
  const size = (at) => 1 + data.getUint16(at, true) + (data.getUint8(at + 2) << 16);
  return { width: size(24), height: size(27), complete, orientation: webpOrientation(bytes) };
}

function webpOrientation(bytes) {
  const data = view(bytes);
  for (let at = 12; at + 8 <= bytes.length; ) {
    const length = data.getUint32(at + 4, true);
    if (text(bytes, at, at + 4) === 'EXIF') return readOrientation(bytes.subarray(at + 8, at + 8 + length));
    at += 8 + length + (length % 2);
  }
  return 1;
}

function readBmp(bytes) {
  const data = view(bytes);
  const complete = data.getUint32(2, true) <= bytes.length;
  return { width: Math.abs(data.getInt32(18, true)), height: Math.abs(data.getInt32(22, true)), complete };
}
