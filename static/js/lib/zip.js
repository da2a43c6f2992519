// The parts of the zip format that the dataset preview needs: list a zip, read one entry, pack files without
// compression.
const END = 0x06054b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const UTF8 = 0x0800;
const MOST_BYTES = 0xffffffff;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const MOST_ENTRIES = 0xffff; // of a zip that is not a zip64
export const MOST_FILES = 1_000_000;
export const TOO_MANY = "more than 1,000,000 files: zip the folder, or name its path on the server's disk";
const CP437 = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"; // bytes 128 to 255

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

/**
 * The entries of a zip, without folders, named as the import names them (trainer/data/sources/archive.py); `guessed` if a
 * name is not UTF-8. Null if it cannot be listed here (truncated, or not a zip).
 */
export async function listZip(blob) {
  const tail = new DataView(await blob.slice(-65557).arrayBuffer());
  let at = tail.byteLength - 22;
  while (at >= 0 && tail.getUint32(at, true) !== END) at -= 1;
  if (at < 0) return null;
  let size = tail.getUint32(at + 12, true);
  let start = tail.getUint32(at + 16, true);
  if (start === MOST_BYTES || size === MOST_BYTES || tail.getUint16(at + 10, true) === MOST_ENTRIES) {
    if (at < 20 || tail.getUint32(at - 20, true) !== LOCATOR64) return null;
    const from = Number(tail.getBigUint64(at - 12, true));
    const end = new DataView(await blob.slice(from, from + 56).arrayBuffer());
    if (end.byteLength < 56 || end.getUint32(0, true) !== END64) return null;
    size = Number(end.getBigUint64(40, true));
    start = Number(end.getBigUint64(48, true));
  }
  if (start + size > blob.size) return null;
  const view = new DataView(await blob.slice(start, start + size).arrayBuffer());
  const entries = [];
  for (let here = 0; here + 46 <= view.byteLength && view.getUint32(here, true) === CENTRAL; ) {
    const name = view.getUint16(here + 28, true);
    const bytes = new Uint8Array(view.buffer, here + 46, name);
    const entry = {
      ...decoded(bytes), method: view.getUint16(here + 10, true), packed: view.getUint32(here + 20, true),
      size: view.getUint32(here + 24, true), start: view.getUint32(here + 42, true),
    };
    widen(entry, new DataView(view.buffer, here + 46 + name, view.getUint16(here + 30, true)));
    entries.push(entry);
    here += 46 + name + view.getUint16(here + 30, true) + view.getUint16(here + 32, true);
  }
  const isBackslashed = !entries.some(({ path }) => path.includes("/"));
  for (const entry of entries) {
    if (isBackslashed) entry.path = entry.path.replaceAll("\\", "/");
    entry.path = entry.path.replace(/^(\.\/)+/, "").normalize("NFC");
  }
  return entries.filter(({ path }) => path && !path.endsWith("/"));
}

/** Replaces the numbers that do not fit into 32 bits by those of the extra field of a zip64. */
function widen(entry, extra) {
  for (let at = 0; at + 4 <= extra.byteLength; at += 4 + extra.getUint16(at + 2, true)) {
    if (extra.getUint16(at, true) !== 1) continue;
    let here = at + 4;
    for (const field of ["size", "packed", "start"]) {
      if (entry[field] !== MOST_BYTES || here + 8 > extra.byteLength) continue;
      entry[field] = Number(extra.getBigUint64(here, true));
      here += 8;
    }
  }
}

/** A name in UTF-8 if it is valid, whatever its flag says, else in code page 437. */
function decoded(bytes) {
  try {
    return { path: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes), guessed: false };
  } catch {
    return { path: Array.from(bytes, (byte) => (byte < 128 ? String.fromCharCode(byte) : CP437[byte - 128])).join(""), guessed: true };
  }
}

/** The content of one entry, as a Blob. */
export async function readEntry(blob, { start, packed, method }) {
  const head = new DataView(await blob.slice(start, start + 30).arrayBuffer());
  if (head.getUint32(0, true) !== LOCAL) throw new Error("not an entry");
  const from = start + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const content = blob.slice(from, from + packed);
  if (method === 0) return content;
  return new Response(content.stream().pipeThrough(new DecompressionStream("deflate-raw"))).blob();
}

/**
 * A zip of `files` ({path, file}), uncompressed, since images are compressed already. The Blob refers to the files and
 * copies none.
 * @param {function(number): void} onProgress called with the number of files read
 */
export async function packZip(files, onProgress = () => {}) {
  if (files.length > MOST_FILES) throw new Error(TOO_MANY);
  const parts = [];
  const central = [];
  let offset = 0;
  for (const [index, { path, file }] of files.entries()) {
    const name = new TextEncoder().encode(path);
    const crc = await crc32(file);
    const common = [20, UTF8, 0, 0, 0x21, crc, file.size, file.size, name.length, 0];
    const head = record(LOCAL, common);
    central.push(...listed(common, offset, name));
    parts.push(head, name, file);
    offset += head.byteLength + name.length + file.size;
    onProgress(index + 1);
  }
  const size = central.reduce((sum, part) => sum + part.byteLength, 0);
  return new Blob([...parts, ...central, ...ends(files.length, size, offset)], { type: "application/zip" });
}

/** An entry of the central directory: its header, name and, if its offset has more than 32 bits, an extra field. */
function listed(common, offset, name) {
  if (offset < MOST_BYTES) return [record(CENTRAL, [20, ...common, 0, 0, 0, 0, offset]), name];
  const extra = new DataView(new ArrayBuffer(12));
  extra.setUint16(0, 1, true);
  extra.setUint16(2, 8, true);
  extra.setBigUint64(4, BigInt(offset), true);
  return [record(CENTRAL, [45, 45, ...common.slice(1, -1), 12, 0, 0, 0, 0, MOST_BYTES]), name, extra];
}

/** What ends a zip whose central directory of `size` bytes begins at `start`; twice where numbers are too large. */
function ends(count, size, start) {
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, END, true);
  end.setUint16(8, Math.min(count, MOST_ENTRIES), true);
  end.setUint16(10, Math.min(count, MOST_ENTRIES), true);
  end.setUint32(12, Math.min(size, MOST_BYTES), true);
  end.setUint32(16, Math.min(start, MOST_BYTES), true);
  if (count < MOST_ENTRIES && size < MOST_BYTES && start < MOST_BYTES) return [end];
  const wide = new DataView(new ArrayBuffer(76));
  wide.setUint32(0, END64, true);
  wide.setBigUint64(4, 44n, true);
  wide.setUint16(12, 45, true);
  wide.setUint16(14, 45, true);
  wide.setBigUint64(24, BigInt(count), true);
  wide.setBigUint64(32, BigInt(count), true);
  wide.setBigUint64(40, BigInt(size), true);
  wide.setBigUint64(48, BigInt(start), true);
  wide.setUint32(56, LOCATOR64, true);
  wide.setBigUint64(64, BigInt(start + size), true);
  wide.setUint32(72, 1, true);
  return [wide, end];
}

/** A header whose fields have 16 bits, except those at the indices in `wide`, which have 32. */
function record(signature, fields) {
  const wide = signature === LOCAL ? [5, 6, 7] : [6, 7, 8, 14, 15];
  const bytes = 4 + fields.reduce((sum, _, index) => sum + (wide.includes(index) ? 4 : 2), 0);
  const view = new DataView(new ArrayBuffer(bytes));
  view.setUint32(0, signature, true);
  let at = 4;
  for (const [index, value] of fields.entries()) {
    if (wide.includes(index)) view.setUint32(at, value, true);
    else view.setUint16(at, value, true);
    at += wide.includes(index) ? 4 : 2;
  }
  return new Uint8Array(view.buffer);
}

async function crc32(file) {
  let crc = ~0;
  const reader = file.stream().getReader();
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    for (const byte of value) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}
