/**
 * Complete what Vite built: the bundles, the icons, the service worker, and compressed copies of every file.
 *
 * Environment: LENTIGO_APP_OUT (the built app), LENTIGO_BUNDLES (a folder of bundles).
 */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { copyBundles } from "./bundles.mjs";
import { compressAll } from "./compress.mjs";
import { drawIcons } from "./icons.mjs";
import { writeServiceWorker } from "./service_worker.mjs";

const app = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const out = path.resolve(app, process.env.LENTIGO_APP_OUT ?? "../lentigo/serving/static");
const bundles = path.resolve(app, process.env.LENTIGO_BUNDLES ?? "../lentigo/bundles");

const SCREENSHOTS = [
  { name: "app-answer-desktop-en.jpg", sizes: "1280x860", form_factor: "wide", label: "An answer" },
  { name: "app-answer-phone-en-dark.jpg", sizes: "720x1280", form_factor: "narrow", label: "An answer on a phone" },
];

await addScreenshots();
await drawIcons(path.join(app, "public/icon.svg"), out);
const packaged = await copyBundles(bundles, path.join(out, "bundles"));
const precached = await writeServiceWorker(path.join(app, "src/sw.ts"), out, packaged);
await compressAll(out);
await writeSizes();

/** Pictures for the browser's own offer to install, where the checkout has them (build/screenshots.mjs draws them). */
async function addScreenshots() {
  const manifest = JSON.parse(await readFile(path.join(out, "manifest.webmanifest"), "utf8"));
  manifest.screenshots = [];
  for (const shot of SCREENSHOTS) {
    const { name, ...rest } = shot;
    const picture = await readFile(path.join(app, "../docs/images", name)).catch(() => null);
    if (picture === null) continue;
    await mkdir(path.join(out, "screenshots"), { recursive: true });
    await writeFile(path.join(out, "screenshots", name), picture);
    manifest.screenshots.push({ src: `screenshots/${name}`, type: "image/jpeg", ...rest });
  }
  await writeFile(path.join(out, "manifest.webmanifest"), `${JSON.stringify(manifest, null, 2)}\n`);
}

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
