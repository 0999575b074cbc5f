/**
 * What the built app, in a real browser, answers about images: for the parity check between runtimes.
 *
 * node build/parity.mjs BUNDLE IMAGE... [--static FOLDER]
 *
 * Prints one line of JSON: {"golden": bool, "images": {path: {code: probability, ...}}}. The bundle is loaded from its
 * files as a person would load it, the images are chosen as a person would choose them.
 */

import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "@playwright/test";
import { launchOptions } from "./chromium.mjs";
import { serve } from "./serve.mjs";

const FILES = ["spec.json", "model.onnx", "MODEL_CARD.md", "golden.json"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    static: { type: "string", default: fileURLToPath(new URL("../../lentigo/serving/static", import.meta.url)) },
  },
});
const [bundle, ...images] = positionals;
if (bundle === undefined) {
  console.error("usage: node build/parity.mjs BUNDLE IMAGE... [--static FOLDER]");
  process.exit(2);
}

const { server, url } = await serve(path.resolve(values.static));
const browser = await chromium.launch(launchOptions());
try {
  const page = await browser.newPage({ locale: "en-GB", serviceWorkers: "block" });
  await page.addInitScript(() => {
    localStorage.setItem("lentigo.notice", "read");
    localStorage.setItem("lentigo.capture", "dermatoscope"); // or else it is asked before anything is classified
  });
  await page.goto(`${url}#/models`);
  await page.getByTestId("bundle-input").setInputFiles(FILES.map((name) => path.join(bundle, name)));
  await page.getByTestId("notice-done").or(page.getByTestId("notice-error")).first().waitFor();
  const failed = page.getByTestId("notice-error");
  if (await failed.count()) throw new Error(await failed.first().innerText());
  await page.getByTestId("self-check").click();
  const golden = await page.getByTestId("self-check-result").getAttribute("data-passed");
  await page.goto(`${url}#/check`);
  const answers = {};
  for (const image of images) {
    await page.getByTestId("file-input").first().setInputFiles(image);
    await page.getByTestId("results").or(failed).first().waitFor();
    if (await failed.count()) throw new Error(`${image}: ${await failed.first().innerText()}`);
    answers[image] = await page
      .getByTestId("bars")
      .locator("li")
      .evaluateAll((rows) =>
        Object.fromEntries(rows.map((row) => [row.dataset.code, Number(row.dataset.probability)])),
      );
    await page.getByTestId("start-over").click();
  }
  console.log(JSON.stringify({ golden: golden === "true", images: answers }));
} finally {
  await browser.close();
  server.close();
}
