/** Language, colours, keyboard, screen readers, small screens, reduced motion, privacy. */

import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { classify, expect, openApp, save, test } from "./app";

async function noSeriousViolations(page: Page, where: string): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  expect(
    serious.map(({ id, nodes }) => `${where}: ${id} at ${nodes.map((node) => node.target.join(" ")).join("; ")}`),
  ).toEqual([]);
}

/** Nothing is wider than the window. */
async function fitsSideways(page: Page, where: string): Promise<void> {
  const beyond = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(beyond, where).toBeLessThanOrEqual(0);
}

/** Go through every page and dialog, and look at each. */
async function tour(page: Page, url: string, look: (where: string) => Promise<void>): Promise<void> {
  await page.goto(url);
  await look("notice");
  await page.getByTestId("accept-notice").click();
  await look("welcome");
  await classify(page, "mel.jpg");
  await look("answer");
  await page.getByTestId("edit").click();
  await expect(page.locator(".crop canvas")).toBeVisible();
  await look("crop");
  await page.getByTestId("apply-crop").click();
  await page.getByTestId("save").click();
  await expect(page.getByTestId("case-note")).toBeVisible();
  await look("save");
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toBeHidden();
  await save(page, "M", { site: "front:face" });
  await look("case");
  await page.goto(`${url}#/notebook`);
  await expect(page.getByTestId("case")).toBeVisible();
  await look("notebook");
  await page.goto(`${url}#/models`);
  await expect(page.getByTestId("card")).toBeVisible();
  await look("models");
  await page.goto(`${url}#/check`);
  await classify(page, "green.png");
  await look("can't tell");
}

test.describe("on a desktop, English, light", () => {
  test.use({ viewport: { width: 1280, height: 800 }, locale: "en-GB", colorScheme: "light" });
  test("axe finds nothing serious, and nothing is wider than the window", async ({ page, url }) => {
    await page.emulateMedia({ reducedMotion: "reduce" });
    await tour(page, url, async (where) => {
      await noSeriousViolations(page, where);
      await fitsSideways(page, where);
    });
  });
});

test.describe("at 360 x 640, Chinese, dark", () => {
  test.use({ viewport: { width: 360, height: 640 }, locale: "zh-CN", colorScheme: "dark" });
  test("axe finds nothing serious, and nothing is wider than the window", async ({ page, url }) => {
    await page.emulateMedia({ reducedMotion: "reduce" });
    await tour(page, url, async (where) => {
      // What the desktop has shown about names and roles holds here too; colours and small print do not.
      if (["welcome", "answer", "save", "case", "models"].includes(where)) await noSeriousViolations(page, where);
      await fitsSideways(page, where);
    });
  });
});

test("languages are switched and remembered; names of models and classes follow", async ({ page, url }) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  const language = page.getByTestId("language");
  await expect(language.locator("option")).toHaveText(["English", "Español", "中文"]);
  await language.selectOption("es");
  await expect(page.locator("html")).toHaveAttribute("lang", "es");
  await expect(page.getByTestId("verdict")).toContainText("Por encima de la línea de las clases malignas");
  await expect(page.getByTestId("prediction-set")).toContainText("Melanoma");
  await expect(page.getByTestId("bars")).toContainText("Nevo melanocítico");
  await expect(page.getByTestId("model-badge")).toContainText("Imágenes dibujadas, 7 clases");
  await expect(page).toHaveTitle("Examinar – lentigo");
  await language.selectOption("zh");
  await expect(page.locator("html")).toHaveAttribute("lang", "zh-Hans");
  await expect(page.getByTestId("verdict")).toContainText("高于恶性类别的界线");
  await expect(page.locator(".session-verdict")).toContainText("不是诊断");
  await expect(page.getByTestId("prediction-set")).toContainText("黑色素瘤");
  for (const link of ["记录", "模型", "检查"]) await expect(page.getByRole("link", { name: link })).toBeVisible();
  // Nothing English is left on the page but names.
  const english = await page.locator("main, nav, footer").allInnerTexts();
  expect(english.join(" ").match(/\b(the|and|of|photograph|save|model)\b/gi)).toBeNull();
  await page.getByRole("link", { name: "模型" }).click();
  await expect(page.getByTestId("card")).toBeVisible();
  const card = await page.getByTestId("card").innerText(); // the English card is folded away, and says so
  expect(card.match(/\b(the|and|of|with)\b/gi)).toBeNull();
  await page.reload();
  await expect(page.locator("html")).toHaveAttribute("lang", "zh-Hans");
  await language.selectOption("en");
  await expect(page.locator("html")).toHaveAttribute("lang", "en");
});

test("light and dark follow the device, or the person", async ({ page, url }) => {
  await page.emulateMedia({ colorScheme: "dark" });
  await openApp(page, url);
  const ground = (): Promise<string> => page.locator("body").evaluate((body) => getComputedStyle(body).backgroundColor);
  const dark = await ground();
  await page.getByTestId("theme").click();
  const light = await ground();
  expect(light).not.toBe(dark);
  await page.reload();
  expect(await ground()).toBe(light);
  await page.getByTestId("theme").click();
  expect(await ground()).toBe(dark);
});

test("the title says where one is, and the focus is never lost", async ({ page, url }) => {
  await openApp(page, url);
  await expect(page).toHaveTitle("Check – lentigo");
  const focused = (): Promise<string> => page.evaluate(() => document.activeElement!.tagName);
  await classify(page, "mel.jpg");
  await expect.poll(focused).not.toBe("BODY");
  await page.getByTestId("start-over").click();
  await expect(page.getByTestId("results")).toBeHidden();
  await expect.poll(focused).not.toBe("BODY");
  await classify(page, "mel.jpg");
  await save(page, "Mole on the arm");
  await expect(page).toHaveTitle("Mole on the arm – lentigo");
  await expect.poll(focused).not.toBe("BODY");
  await page.getByRole("link", { name: "Models" }).click();
  await expect(page).toHaveTitle("Models – lentigo");
  await expect(page.getByRole("main")).toBeFocused();
});

test("the browser's frame has the page's colour", async ({ page, url }) => {
  await page.emulateMedia({ colorScheme: "dark" });
  await openApp(page, url);
  for (let i = 0; i < 3; i++) {
    const shown = await page.evaluate(() => {
      const tags = [...document.querySelectorAll<HTMLMetaElement>("meta[name=theme-color]")];
      const tag = tags.find(({ media }) => matchMedia(media).matches)!;
      const probe = document.createElement("i");
      probe.style.color = tag.content;
      document.body.append(probe);
      const colours = [getComputedStyle(probe).color, getComputedStyle(document.body).backgroundColor];
      probe.remove();
      return colours;
    });
    expect(shown[0]).toBe(shown[1]);
    await page.getByTestId("theme").click();
  }
});

test("works from the keyboard alone", async ({ page, url }) => {
  await openApp(page, url);
  const opened = page.waitForEvent("filechooser"); // asked for early: a key press does not wait until the browser hands choosers over
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to the content" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("main")).toBeFocused();
  await page.keyboard.press("Tab");
  await expect(page.getByRole("button", { name: "Choose photographs" })).toBeFocused();
  await page.keyboard.press("Enter");
  expect((await opened).isMultiple()).toBe(true);
  await classify(page, "mel.jpg");
  await page.getByTestId("edit").focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toBeHidden();
  await expect(page.getByTestId("edit")).toBeFocused();
  await page.getByTestId("heat-toggle").press("Enter");
  await page.getByTestId("heat-slider").focus();
  await page.keyboard.press("End");
  await expect(page.getByTestId("heat")).toHaveCSS("opacity", "1");
});

test("reduced motion stops what moves", async ({ page, url }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await openApp(page, url);
  await classify(page, "mel.jpg");
  const moving = await page.evaluate(
    () =>
      document.getAnimations().filter((animation) => Number(animation.effect?.getComputedTiming().duration) > 10)
        .length,
  );
  expect(moving).toBe(0);
});

test("the page may not send anything anywhere", async ({ page, url, watched }) => {
  await openApp(page, url);
  const policy = await page.locator("meta[http-equiv='Content-Security-Policy']").getAttribute("content");
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("connect-src 'self'");
  expect(policy).not.toContain("'unsafe-inline'");
  expect(policy).not.toContain("'unsafe-eval'");
  const sent = await page.evaluate(async () => {
    const image = new Promise((resolve) => {
      const element = new Image();
      element.onload = () => resolve("loaded");
      element.onerror = () => resolve("refused");
      element.src = "https://example.org/pixel.png";
    });
    const request = fetch("https://example.org/collect", { method: "POST", body: "x" }).then(
      () => "sent",
      () => "refused",
    );
    return Promise.all([image, request]);
  });
  expect(sent).toEqual(["refused", "refused"]);
  expect(watched.foreign).toEqual([]);
});
