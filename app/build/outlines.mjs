/**
 * How well the app's proposed outlines agree with masks drawn by people, such as those published for HAM10000
 * (ISIC_0024306_segmentation.png and so on) or ISIC 2017.
 *
 * node build/outlines.mjs IMAGES MASKS [--most 500]
 *
 * Images are decoded and reduced by a browser, as in the app. Prints one line of JSON: Jaccard index (median, quartiles,
 * share of at least 0.8), the error of the area in per cent, the share with a doubt, and what was left out.
 */

import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "@playwright/test";
import { build } from "vite";
import { launchOptions } from "./chromium.mjs";

const SIDE = 1280; // as the notebook keeps them
const IMAGE = /\.(jpe?g|png|webp)$/i;
const SUFFIX = /(_segmentation|_mask)?\.png$/i;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { most: { type: "string", default: "500" } },
});
const [images, masks] = positionals;
if (masks === undefined) {
  console.error("usage: node build/outlines.mjs IMAGES MASKS [--most 500]");
  process.exit(2);
}

/** A folder's files by name without ending. */
async function filesOf(folder, ending) {
  try {
    const names = (await readdir(folder)).filter((name) => ending.test(name)).sort();
    return new Map(names.map((name) => [name.replace(ending, ""), path.join(folder, name)]));
  } catch (error) {
    console.error(
      `${folder} cannot be read (${error.code ?? error.message}); name a folder of images and one of masks`,
    );
    process.exit(2);
  }
}

const maskFiles = await filesOf(masks, SUFFIX);
const pairs = [...(await filesOf(images, IMAGE))].flatMap(([name, image]) =>
  maskFiles.has(name) ? [{ name, image, mask: maskFiles.get(name) }] : [],
);
if (pairs.length === 0) {
  console.error(
    `no mask in ${masks} belongs to an image in ${images}: NAME.jpg goes with NAME.png, NAME_mask.png or NAME_segmentation.png`,
  );
  process.exit(2);
}

const source = fileURLToPath(new URL("../src/measure/agreement.ts", import.meta.url));
const built = await build({
  configFile: false,
  logLevel: "error",
  build: { write: false, lib: { entry: source, formats: ["iife"], name: "outlines" } },
});
const script = built[0].output[0].code;

const quantile = (sorted, fraction) => sorted[Math.round(fraction * (sorted.length - 1))];
const rounded = (value) => Number(value.toFixed(3));
const browser = await chromium.launch(launchOptions());
try {
  const page = await browser.newPage();
  await page.addScriptTag({ content: script });
  const results = [];
  const failed = [];
  for (const { name, image, mask } of pairs.slice(0, Number(values.most))) {
    const [a, b] = await Promise.all([image, mask].map(async (file) => (await readFile(file)).toString("base64")));
    const found = await page
      .evaluate(([a, b, side]) => window.outlines.agreement(a, b, side), [a, b, SIDE])
      .catch(() => null);
    if (found === null) failed.push(name);
    else results.push(found);
  }
  const jaccard = results.map((one) => one.jaccard).sort((p, q) => p - q);
  const area = results.map((one) => 100 * (one.area - 1)).sort((p, q) => p - q);
  console.log(
    JSON.stringify({
      images: results.length,
      jaccard: {
        median: rounded(quantile(jaccard, 0.5)),
        quartiles: [rounded(quantile(jaccard, 0.25)), rounded(quantile(jaccard, 0.75))],
      },
      "jaccard of 0.8 or more": rounded(jaccard.filter((value) => value >= 0.8).length / jaccard.length),
      "error of area, per cent": {
        median: rounded(quantile(area, 0.5)),
        quartiles: [rounded(quantile(area, 0.25)), rounded(quantile(area, 0.75))],
      },
      doubted: rounded(results.filter((one) => one.doubted).length / results.length),
      unreadable: failed,
    }),
  );
} finally {
  await browser.close();
}
