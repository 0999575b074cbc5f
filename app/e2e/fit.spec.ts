/** Everything fits: every size, every language, long words, text of twice the size, several errors at once. */

import type { Page } from "@playwright/test";
import { choose, classify, expect, openApp, save, test } from "./app";

const SIZES = [
  [320, 640],
  [360, 640],
  [390, 844],
  [844, 390],
  [820, 1180],
  [1440, 900],
] as const;

/** What is wider than the window, or has text that is cut off. */
function beyond(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const found = [...document.querySelectorAll<HTMLElement>("main *, header *, footer *, dialog[open] *")]
      .filter((element) => !element.closest(".visually-hidden, .skip, svg, .button-compact, .card-text"))
      .filter((element) => {
        const box = element.getBoundingClientRect();
        return box.width > 0 && (box.right > width + 1 || box.left < -1);
      });
    return found
      .slice(0, 5)
      .map((element) => `${element.tagName}.${element.className}: ${element.textContent?.slice(0, 40)}`);
  });
}

for (const locale of ["en-GB", "zh-CN", "es-ES"]) {
  test.describe(locale, () => {
    test.use({ locale });
    test("every page fits every size, also with text of twice the size", async ({ page, url }) => {
      await page.emulateMedia({ reducedMotion: "reduce" });
      await openApp(page, url);
      await choose(page, "mel.jpg", "nv.jpg");
      await expect(page.getByTestId("small-answer")).toHaveCount(2);
      const wide: string[] = [];
      const look = async (where: string): Promise<void> => {
        for (const [width, height] of SIZES) {
          await page.setViewportSize({ width, height });
          for (const text of ["100%", "200%"]) {
            await page.evaluate((size) => (document.documentElement.style.fontSize = size), text);
            for (const what of await beyond(page)) wide.push(`${where} at ${width} x ${height}, ${text}: ${what}`);
          }
        }
        await page.evaluate(() => (document.documentElement.style.fontSize = ""));
      };
      await look("answer");
      await page.getByTestId("save").click();
      await expect(page.getByTestId("case-note")).toBeVisible();
      await look("save");
      await page.keyboard.press("Escape");
      await expect(page.getByRole("dialog")).toBeHidden();
      await save(page, "Hautveränderungsbeobachtungsprotokollführungsanweisung".repeat(2), { note: "w".repeat(200) });
      await look("case");
      await page.goto(`${url}#/notebook`);
      await expect(page.getByTestId("case")).toBeVisible();
      await look("notebook");
      await page.goto(`${url}#/models`);
      await expect(page.getByTestId("card")).toBeVisible();
      await look("models");
      await page.goto(`${url}#/check`);
      await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
      await look("welcome");
      expect(wide).toEqual([]);
    });
  });
}

test("in landscape and on a tablet the photograph and the answer stand side by side", async ({ page, url }) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  for (const [width, height] of [
    [844, 390],
    [820, 1180],
    [1440, 900],
  ]) {
    await page.setViewportSize({ width, height });
    const photo = (await page.locator(".session-photo").boundingBox())!;
    const verdict = (await page.getByTestId("verdict").boundingBox())!;
    expect(verdict.x, `${width}`).toBeGreaterThan(photo.x + photo.width - 1);
  }
  await page.setViewportSize({ width: 360, height: 640 });
  await expect(page.getByTestId("verdict")).toBeInViewport({ ratio: 1 }); // nothing to scroll for
  const [save, nav] = [await page.getByTestId("save").boundingBox(), await page.locator(".nav").boundingBox()];
  expect(save!.y + save!.height).toBeLessThanOrEqual(nav!.y); // at hand, and not beneath the navigation
});

test("the header is one line on a tablet, a crop is applied without scrolling, and paper has dark ink", async ({
  page,
  url,
}) => {
  await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
  await openApp(page, url);
  await page.getByTestId("language").selectOption("es");
  await classify(page, "mel.jpg");
  await page.setViewportSize({ width: 820, height: 1180 });
  const brand = (await page.locator(".brand").boundingBox())!;
  const language = (await page.getByTestId("language").boundingBox())!;
  expect(language.y).toBeLessThan(brand.y + brand.height);
  await page.setViewportSize({ width: 844, height: 390 });
  await page.getByTestId("edit").click();
  await expect(page.getByTestId("apply-crop")).toBeInViewport({ ratio: 1 });
  await page.keyboard.press("Escape");
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  await expect(page.locator("body")).toHaveCSS("color", "rgb(0, 0, 0)");
});

test("several errors leave half of a phone free, and long names do not push their buttons off", async ({
  page,
  url,
}) => {
  await page.setViewportSize({ width: 360, height: 640 });
  await openApp(page, url);
  const names = Array.from({ length: 5 }, (_, i) => ({
    name: `${String(i).repeat(80)}.jpg`,
    mimeType: "image/jpeg",
    buffer: Buffer.from("not an image"),
  }));
  await page.getByTestId("file-input").first().setInputFiles(names);
  await expect(page.getByTestId("notice-error")).toHaveCount(3);
  const all = (await page.locator(".notices").boundingBox())!;
  expect(all.height).toBeLessThanOrEqual(320);
  for (const button of await page.getByTestId("notice-error").getByRole("button").all()) {
    const box = (await button.boundingBox())!;
    expect(box.x + box.width).toBeLessThanOrEqual(360);
  }
});

test("a message with a button keeps its words whole, with text of twice the size", async ({ page, url }) => {
  await page.setViewportSize({ width: 360, height: 640 });
  await openApp(page, url);
  await page.evaluate(() => (document.documentElement.style.fontSize = "200%"));
  await classify(page, "mel.jpg");
  await page.getByTestId("start-over").click();
  const words = (await page.getByTestId("notice-done").getByText("Ready for the next lesion").boundingBox())!;
  expect(words.width).toBeGreaterThan(5 * 32); // a word such as "photograph" at 32 px
});

test("the page of models is short", async ({ page, url }) => {
  await page.setViewportSize({ width: 360, height: 640 });
  await openApp(page, url, "#/models");
  await expect(page.getByTestId("card")).toBeVisible();
  expect(await page.evaluate(() => document.documentElement.scrollHeight)).toBeLessThan(2600);
  await page.getByTestId("whole-card").locator("summary").click();
  await expect(page.getByTestId("whole-card")).toContainText("Random weights");
});
