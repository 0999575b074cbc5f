/**
 * The screenshots in docs/images, of drawn photographs only.
 *
 * node build/screenshots.mjs PHOTO PHOTO PALE [--static FOLDER] [--out FOLDER]
 *
 * Give two photographs of one drawn (never real) lesion, as `lentigo data phantom` makes them, and one of drawn pale
 * patches.
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
const [first, second, pale] = positionals.map((name) => path.resolve(name));
if (pale === undefined) {
  console.error("usage: node build/screenshots.mjs PHOTO PHOTO PALE [--static FOLDER] [--out FOLDER]");
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
  "patient-tablet-es",
  "outline-phone-en-dark",
  "sheet-desktop-en",
  "sheet-phone-zh",
]);

await mkdir(values.out, { recursive: true });
const { server, url } = await serve(path.resolve(values.static));
const browser = await chromium.launch(launchOptions());
for (const [look, options] of Object.entries(LOOKS)) {
  const context = await browser.newContext({ ...options, reducedMotion: "reduce", serviceWorkers: "block" });
  const page = await context.newPage();
  const shoot = async (name) => {
    if (!PICTURES.has(`${name}-${look}`)) return;
    await page.evaluate(() => {
      for (const button of document.querySelectorAll("[data-testid=notice-done] button")) button.click();
    });
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
  await shoot("models");
  await page.goto(`${url}#/check`);
  await page.getByTestId("file-input").first().setInputFiles(second);
  await page.getByTestId("results").waitFor();
  await page.getByTestId("save").click();
  await page.getByTestId("case-choice").selectOption({ index: 1 });
  await page.getByTestId("case-date").fill("2024-09-14");
  await page.getByTestId("save-case").click();
  await page.getByTestId("compare-button").click();
  await page.locator("[data-testid=lay-over][data-found=true]").waitFor();
  await page.mouse.wheel(0, options.viewport.height / 4);
  await shoot("compare");
  // A patient with the lesion and a sheet of hypopigmented disease.
  await page.goto(`${url}#/patients`);
  await page.getByTestId("new-patient").click();
  await page.getByTestId("patient-code").fill("P-001");
  await page.getByTestId("birth-year").fill("1980");
  await page.getByTestId("skin-type").selectOption("3");
  await page.getByTestId("save-patient").click();
  await page.getByTestId("new-sheet").waitFor();
  const patient = page.url();
  await page.goto(`${url}#/notebook`);
  await page.getByTestId("case").first().click();
  await page.getByTestId("lesion-patient").selectOption({ label: "P-001" });
  await page.goto(patient);
  await page.getByTestId("new-sheet").waitFor();
  await shoot("patient");
  await page.getByTestId("new-sheet").click();
  await page.getByTestId("sheet-date").fill("2024-01-10");
  await page.getByTestId("sheet-diagnosis").selectOption({ index: 1 });
  await page.getByTestId("add-pair").click();
  await page.getByTestId("photo-visible").setInputFiles(pale);
  await page.getByTestId("outline-visible").click();
  await page.locator("[data-testid=outline-stage][data-shapes]").waitFor();
  await page.getByTestId("field-mm").fill("60");
  await page.getByTestId("use-field").click();
  await page.getByTestId("outline-stage").scrollIntoViewIfNeeded();
  await shoot("outline");
  await page.getByTestId("save-outline").click();
  await page.getByTestId("outline-stage").waitFor({ state: "hidden" });
  await page.getByTestId("outline-visible").scrollIntoViewIfNeeded();
  await shoot("sheet");
  await context.close();
}
await browser.close();
server.close();
