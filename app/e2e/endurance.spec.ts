import { readFileSync } from "node:fs";
import { chromium } from "@playwright/test";
import { launchOptions } from "../build/chromium.mjs";
import { classify, expect, openApp, test } from "./app";

const IMAGES = 200;
const WARM_UP = 40; // the runtime's arena and the canvases have their final size by then
const PHOTOS = ["mel.jpg", "nv.jpg", "bkl.jpg", "transparent.png"];

test(`${IMAGES} images in a row with flat memory`, async ({ url }) => {
  test.skip(process.platform !== "linux", "reads the process's memory from /proc");
  test.setTimeout(150_000);
  const browser = await chromium.launch(launchOptions(["--js-flags=--expose-gc"]));
  const devtools = await browser.newBrowserCDPSession();
  const page = await browser.newPage({ locale: "en-GB" });
  await openApp(page, url);

  /** Resident memory of every renderer process, in MB: the page, its worker, WebAssembly and images. */
  const resident = async (): Promise<number> => {
    await page.evaluate(() => (globalThis as unknown as { gc: () => void }).gc());
    const { processInfo } = await devtools.send("SystemInfo.getProcessInfo");
    const renderers = processInfo.filter(({ type }) => type === "renderer");
    const kilobytes = renderers.map(({ id }) =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, "utf8"))![1]),
    );
    return kilobytes.reduce((sum, value) => sum + value, 0) / 1024;
  };

  let warm = 0;
  for (let i = 0; i < IMAGES; i++) {
    await classify(page, PHOTOS[i % PHOTOS.length]);
    if (i + 1 === WARM_UP) warm = await resident();
  }
  const end = await resident();
  console.log(`renderers: ${warm.toFixed(0)} MB after ${WARM_UP} images, ${end.toFixed(0)} MB after ${IMAGES}`);
  expect(end - warm).toBeLessThan(25);
  await browser.close();
});
