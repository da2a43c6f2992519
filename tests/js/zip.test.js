import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";

import { listZip, packZip, readEntry } from "../../static/js/lib/zip.js";

test("what is packed is listed and read back", async () => {
  const files = [
    { path: "oak/größe 1.png", file: new Blob(["first"]) },
    { path: "elm/2.jpg", file: new Blob([new Uint8Array(70000).fill(7)]) },
  ];
  const told = [];
  const zip = await packZip(files, (count) => told.push(count));
  const entries = await listZip(zip);
  assert.deepEqual(entries.map(({ path, size }) => [path, size]), [["oak/größe 1.png", 5], ["elm/2.jpg", 70000]]);
  assert.equal(await (await readEntry(zip, entries[0])).text(), "first");
  assert.equal((await readEntry(zip, entries[1])).size, 70000);
  assert.deepEqual(told, [1, 2]);
});

test("a deflated entry is inflated", async () => {
  const packed = deflateRawSync(Buffer.from("again ".repeat(100)));
  const head = Buffer.alloc(30);
  head.writeUInt32LE(0x04034b50, 0);
  head.writeUInt16LE(1, 26);
  const blob = new Blob([head, "a", packed]);
  const content = await readEntry(blob, { start: 0, packed: packed.length, method: 8 });
  assert.equal(await content.text(), "again ".repeat(100));
});

test("what is no zip lists nothing", async () => {
  assert.equal(await listZip(new Blob(["PK, but not really"])), null);
  assert.equal(await listZip(new Blob([])), null);
});

test("more files than a plain zip can hold make a zip64", async () => {
  const file = new Blob(["x"]);
  const files = Array.from({ length: 66000 }, (_, index) => ({ path: `a/${index}.png`, file }));
  const entries = await listZip(await packZip(files));
  assert.equal(entries.length, files.length);
  assert.equal(entries.at(-1).path, "a/65999.png");
});
