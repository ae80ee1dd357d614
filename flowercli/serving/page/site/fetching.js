/** Fetch the parts of the model at once, and tell how far they are together. */

/**
 * @param {{url: string, bytes: number}[]} parts
 * @param {(share: number) => void} tell called with 0…1.
 * @returns {Promise<Uint8Array[]>} in the order of the parts.
 */
export async function fetchAll(parts, tell) {
  const total = parts.reduce((sum, { bytes }) => sum + bytes, 0);
  let arrived = 0;
  const count = (bytes) => {
    arrived += bytes;
    tell(Math.min(1, arrived / total));
  };
  return Promise.all(parts.map((part) => fetchOne(part, count)));
}

async function fetchOne({ url, bytes }, count) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  // The known size, because Content-Length is that of the compressed file.
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    whole.set(value, at);
    at += value.length;
    count(value.length);
  }
  if (at !== bytes) throw new Error(`${url}: cut off`);
  return whole;
}
