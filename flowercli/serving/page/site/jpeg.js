/** A walk along the markers of a JPEG: its size, and whether its end is there (browsers show a cut one in part). */

const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
const STANDALONE = new Set([0x01, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, SOI]);
// Start of frame, but for the three numbers among them that mean something else.
const isFrame = (marker) => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);

/** @param {Uint8Array} bytes @returns {{complete: boolean, width?: number, height?: number}} */
export function readJpeg(bytes) {
  const found = { complete: false };
  let at = 2;
  while (at < bytes.length) {
    if (bytes[at] !== 0xff) {
      at += 1; // Between segments some writers leave what belongs to none.
      continue;
    }
    const marker = bytes[at + 1];
    at += marker === 0xff ? 1 : 2; // Any number of fill bytes may precede a marker.
    if (marker === EOI) return { ...found, complete: true };
    if (marker === 0xff || marker === 0 || STANDALONE.has(marker)) continue;
    if (isFrame(marker) && found.width === undefined) {
      found.height = word(bytes, at + 3);
      found.width = word(bytes, at + 5);
    }
    at += word(bytes, at);
    if (marker === SOS) at = skipScan(bytes, at);
  }
  return found;
}

/** Return where the coded data of a scan end: at the next marker that is not a part of them. */
function skipScan(bytes, from) {
  let at = from;
  for (;;) {
    at = bytes.indexOf(0xff, at);
    if (at < 0) return bytes.length;
    const marker = bytes[at + 1];
    if (marker !== 0 && !(marker >= 0xd0 && marker <= 0xd7)) return at;
    at += 2;
  }
}

/** @throws {RangeError} the file ends here. */
function word(bytes, at) {
  if (at + 1 >= bytes.length) throw new RangeError('cut off');
  return bytes[at] * 256 + bytes[at + 1];
}
