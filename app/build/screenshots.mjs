/**
 * The screenshots in docs/images, of drawn photographs only.
 *
 * node build/screenshots.mjs PHOTO PHOTO [--static FOLDER] [--out FOLDER]
 *
 * Give two photographs of drawn (never real) lesions, as `lentigo data phantom` makes them.
 */

import { mkdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "@playwright/test";
import { launchOptions } from "./chromium.mjs";
import { serve } from "./serve.mjs";

const root = (name) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    static: { type: "string", default: root("lentigo/serving/static") },
    out: { type: "string", default: root("docs/images") },
  },
});
const [first, second] = positionals.map((name) => path.resolve(name));
if (second === undefined) {
  console.error("usage: node build/screenshots.mjs PHOTO PHOTO [--static FOLDER] [--out FOLDER]");
  process.exit(2);
}

const PHONE = { viewport: { width: 360, height: 640 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const DESKTOP = { viewport: { width: 1280, height: 860 } };
const LOOKS = {
  "desktop-en": { ...DESKTOP, locale: "en-GB", colorScheme: "light" },
  "desktop-zh-dark": { ...DESKTOP, locale: "zh-CN", colorScheme: "dark" },
  "phone-en-dark": { ...PHONE, locale: "en-GB", colorScheme: "dark" },
  "tablet-es": { viewport: { width: 820, height: 1100 }, locale: "es-ES", colorScheme: "light" },
  "phone-zh": { ...PHONE, locale: "zh-CN", colorScheme: "light" },
};

// Each page in one look at least, each look with an answer.
const PICTURES = new Set([
  ...Object.keys(LOOKS).map((look) => `answer-${look}`),
  "welcome-phone-en-dark",
  "welcome-desktop-en",
  "models-desktop-en",
  "compare-phone-zh",
  "compare-desktop-zh-dark",
]);

await mkdir(values.out, { recursive: true });
const { server, url } = await serve(path.resolve(values.static));
const browser = await chromium.launch(launchOptions());
for (const [look, options] of Object.entries(LOOKS)) {
  const context = await browser.newContext({ ...options, reducedMotion: "reduce", serviceWorkers: "block" });
  const page = await context.newPage();
  const shoot = async (name) => {
    if (!PICTURES.has(`${name}-${look}`)) return;
    await page.waitForTimeout(500); // scrolled and painted
    await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
    await page.screenshot({ path: path.join(values.out, `app-${name}-${look}.jpg`), type: "jpeg", quality: 82 });
  };
  await page.addInitScript(() => {
    localStorage.setItem("lentigo.notice", "read");
    localStorage.setItem("lentigo.capture", "dermatoscope");
  });
  await page.goto(url);
  await page.locator("[data-testid=model-badge][data-state=ready]").waitFor();
  await shoot("welcome");
  await page.getByTestId("file-input").first().setInputFiles(first);
  await page.getByTestId("results").waitFor();
  await shoot("answer");
  await page.getByTestId("save").click();
  await page.getByTestId("site").selectOption("front:left.forearm");
  await page.getByTestId("case-date").fill("2024-03-02");
  await page.getByTestId("save-case").click();
  await page.getByTestId("visit").waitFor();
  await page.goto(`${url}#/models`);
  await page.getByTestId("card").waitFor();
  for (const notice of await page.getByTestId("notice-done").all()) await notice.getByRole("button").click();
  await shoot("models");
  await page.goto(`${url}#/check`);
  await page.getByTestId("file-input").first().setInputFiles(second);
  await page.getByTestId("results").waitFor();
  await page.getByTestId("save").click();
  await page.getByTestId("case-choice").selectOption({ index: 1 });
  await page.getByTestId("case-date").fill("2024-09-14");
  await page.getByTestId("save-case").click();
  await page.getByTestId("compare-button").click();
  await page.getByTestId("compare").waitFor();
  for (const notice of (await page.getByTestId("notice-done").all()).reverse())
    await notice.getByRole("button").click();
  await page.mouse.wheel(0, options.viewport.height / 4);
  await shoot("compare");
  await context.close();
}
await browser.close();
server.close();
