/** Write the service worker with the list of files that make the app work offline. */

import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { transformWithOxc } from "vite";
import { sha256 } from "./bundles.mjs";

const NOT_CACHED = /\.(br|gz|map)$/;
const RARE = /^(onnxruntime|ort-wasm)/; // the second runtime: cached when a model first needs it

/** What the first start needs: the page, its assets, and the default bundle without its test images. */
async function filesToCache(out, packaged) {
  const files = [
    { url: "./", file: "index.html", pinned: false },
    { url: "manifest.webmanifest", file: "manifest.webmanifest", pinned: false },
    { url: "icon.svg", file: "icon.svg", pinned: false },
    { url: "icon-192.png", file: "icon-192.png", pinned: false },
    { url: "bundles/index.json", file: "bundles/index.json", pinned: false },
  ];
  for (const name of (await readdir(path.join(out, "assets"))).sort()) {
    if (NOT_CACHED.test(name)) continue;
    files.push({ url: `assets/${name}`, file: `assets/${name}`, pinned: true, rare: RARE.test(name) });
  }
  const bundle = packaged.default;
  if (bundle !== null) {
    const digests = { "spec.json": bundle.specDigest, ...bundle.files };
    for (const [name, digest] of Object.entries(digests)) {
      if (name === "golden.json") continue;
      const file = `bundles/${bundle.name}/${name}`;
      files.push({ url: `${file}?v=${digest.slice(0, 12)}`, file, pinned: true });
    }
  }
  return files;
}

export async function writeServiceWorker(source, out, packaged) {
  const files = await filesToCache(out, packaged);
  const digests = await Promise.all(
    files.map(async ({ url, file }) => url + sha256(await readFile(path.join(out, file)))),
  );
  const { code } = await transformWithOxc(await readFile(source, "utf8"), source);
  const version = sha256(code + digests.join("\n")).slice(0, 16);
  const own = digests.filter((_, i) => !files[i].url.startsWith("bundles/"));
  const app = sha256(code + own.join("\n")).slice(0, 16);
  const list = { app, version, files: files.map(({ url, pinned, rare }) => ({ url, pinned, rare })) };
  await writeFile(path.join(out, "sw.js"), `const PRECACHE = ${JSON.stringify(list)};\n${code}`);
  return files.filter(({ rare }) => !rare);
}
