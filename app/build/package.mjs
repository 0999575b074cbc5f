/**
 * Complete what Vite built: the bundles, the icons, the service worker, and compressed copies of every file.
 *
 * Environment: LENTIGO_APP_OUT (the built app), LENTIGO_BUNDLES (a folder of bundles).
 */

import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { copyBundles } from "./bundles.mjs";
import { compressAll } from "./compress.mjs";
import { drawIcons } from "./icons.mjs";
import { writeServiceWorker } from "./service_worker.mjs";

const app = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const out = path.resolve(app, process.env.LENTIGO_APP_OUT ?? "../lentigo/serving/static");
const bundles = path.resolve(app, process.env.LENTIGO_BUNDLES ?? "../lentigo/bundles");

await drawIcons(path.join(app, "public/icon.svg"), out);
const packaged = await copyBundles(bundles, path.join(out, "bundles"));
const precached = await writeServiceWorker(path.join(app, "src/sw.ts"), out, packaged);
await compressAll(out);
await writeSizes();

/** Say what a first load costs. */
async function writeSizes() {
  let plain = 0;
  let brotli = 0;
  for (const { file } of precached) {
    const full = path.join(out, file);
    plain += (await readFile(full)).length;
    brotli += (await readFile(`${full}.br`).catch(() => readFile(full))).length;
  }
  const names = packaged.bundles.map((bundle) => bundle.name).join(", ") || "none";
  console.log(
    `bundles: ${names}; first load ${(brotli / 1e6).toFixed(2)} MB compressed, ${(plain / 1e6).toFixed(2)} MB plain`,
  );
}
