/** Brotli and gzip copies beside every file, so that a server only has to choose. Kept between builds. */

import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { sha256 } from "./bundles.mjs";

const CACHE = fileURLToPath(new URL("../node_modules/.cache/lentigo-compress/", import.meta.url));
const COMPRESSIBLE = /\.(html|js|css|json|svg|wasm|webmanifest|onnx|md)$/;
const WORTH_IT = 1024; // bytes; below, a copy saves nothing

const ENCODERS = {
  // Quality 11 would save another 0.4 MB of the WebAssembly, and take half a minute.
  br: (bytes) =>
    promisify(brotliCompress)(bytes, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: 9,
        [constants.BROTLI_PARAM_LGWIN]: 24,
        [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
      },
    }),
  gz: (bytes) => promisify(gzip)(bytes, { level: 9 }),
};

async function compress(bytes, kind) {
  const kept = path.join(CACHE, `${sha256(bytes)}.${kind}`);
  const before = await readFile(kept).catch(() => null);
  if (before !== null) return before;
  const small = await ENCODERS[kind](bytes);
  await mkdir(CACHE, { recursive: true });
  await writeFile(kept, small);
  return small;
}

export async function compressAll(out) {
  for (const name of await readdir(out, { recursive: true })) {
    if (!COMPRESSIBLE.test(name)) continue;
    const file = path.join(out, name);
    const bytes = await readFile(file);
    if (bytes.length < WORTH_IT) continue;
    for (const kind of Object.keys(ENCODERS)) await writeFile(`${file}.${kind}`, await compress(bytes, kind));
  }
}
