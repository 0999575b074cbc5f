import { readFileSync } from "node:fs";
import { chromium } from "@playwright/test";
import { launchOptions } from "../build/chromium.mjs";
import { classify, expect, openApp, photoPath, test } from "./app";

const IMAGES = 200;
const WARM_UP = 40; // the runtime's arena and the canvases have their final size by then
const PHOTOS = ["mel.jpg", "nv.jpg", "bkl.jpg", "transparent.png"];

test(`${IMAGES} images in a row with flat memory`, async ({ url }) => {
  test.skip(process.platform !== "linux", "reads the process's memory from /proc");
  const browser = await chromium.launch(launchOptions(["--js-flags=--expose-gc"]));
  const devtools = await browser.newBrowserCDPSession();
  const page = await browser.newPage({ locale: "en-GB" });
  await openApp(page, url);
  await classify(page, PHOTOS[0]);
  const contents = PHOTOS.map((name) => ({ name, base64: readFileSync(photoPath(name)).toString("base64") }));

  /** Choose one photograph after the other as a person would, each after the answer to the last; all in the page. */
  const classifyMany = (count: number): Promise<void> =>
    page.evaluate(
      async ([pictures, times]) => {
        const find = (name: string): HTMLElement | null => document.querySelector(`[data-testid=${name}]`);
        const until = (condition: () => boolean): Promise<void> =>
          new Promise((resolve) => {
            if (condition()) return resolve();
            const observer = new MutationObserver(() => {
              if (!condition()) return;
              observer.disconnect();
              resolve();
            });
            observer.observe(document.body, { childList: true, subtree: true, attributes: true });
          });
        for (let i = 0; i < times; i++) {
          find("start-over")!.click();
          await until(() => find("results") === null);
          const { name, base64 } = pictures[i % pictures.length];
          const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], name));
          const input = find("file-input") as HTMLInputElement;
          input.files = data.files;
          input.dispatchEvent(new Event("change", { bubbles: true }));
          await until(() => find("results") !== null);
        }
      },
      [contents, count] as const,
    );

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

  await classifyMany(WARM_UP);
  const warm = await resident();
  await classifyMany(IMAGES - WARM_UP);
  const end = await resident();
  console.log(`renderers: ${warm.toFixed(0)} MB after ${WARM_UP} images, ${end.toFixed(0)} MB after ${IMAGES}`);
  expect(end - warm).toBeLessThan(25);
  await browser.close();
});
