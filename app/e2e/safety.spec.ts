/** What must never happen: each test fails when the rule that prevents it is taken out. */

import { readFileSync, writeFileSync } from "node:fs";
import { chromium } from "@playwright/test";
import { launchOptions } from "../build/chromium.mjs";
import { changeSpecs, choose, classify, expect, modelReady, openApp, save, shown, stored, test } from "./app";

test("a benign class that leads never hides an alarm: headline, screen reader, card, case, paper", async ({
  page,
  url,
}) => {
  await changeSpecs(page, (_, spec) => {
    for (const point of spec.operating_points) point.threshold = 0.1;
  });
  await openApp(page, url);
  const probabilities = await classify(page, "orientation-6.jpg");
  const [top] = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
  expect(top[0]).toBe("vasc"); // benign
  const above = "Above the line for malignant classes";
  await expect(page.getByTestId("verdict").getByRole("heading")).toHaveText(above);
  await expect(page.getByTestId("spoken")).toContainText(above);
  await save(page, "Benign leads");
  await expect(page.getByTestId("visit").getByTestId("verdict")).toContainText(above);
  await page.emulateMedia({ media: "print" });
  await expect(page.getByTestId("visit").getByTestId("verdict")).toBeVisible();
  await page.emulateMedia({ media: "screen" });
  await page.getByRole("link", { name: "Notebook" }).first().click();
  await expect(page.getByTestId("case").getByTestId("verdict-line")).toHaveText(above);
});

test("photographs of different lesions get no verdict together, and nothing lies over the words that say so", async ({
  page,
  url,
}) => {
  await openApp(page, url);
  await classify(page, "nv.jpg");
  const verdict = page.getByTestId("verdict");
  await expect(verdict).toHaveAttribute("data-kind", "below");
  await choose(page, "bkl.jpg");
  await expect(verdict).toHaveAttribute("data-kind", "unsure");
  await expect(page.getByTestId("spoken")).toContainText("look like different lesions");
  await expect(page.getByTestId("small-answer")).toHaveCount(2);
  await save(page, "Two lesions", { note: "one note" });
  await page.getByRole("link", { name: "Notebook" }).first().click();
  await expect(page.getByTestId("case").getByTestId("verdict-line")).toHaveText("Can't tell");
  await page.getByTestId("case").click();
  await page.getByTestId("add-date").click();
  await page.getByTestId("compare-button").click();
  await page.setViewportSize({ width: 390, height: 844 });
  const [warning, model, note] = await Promise.all(
    [page.getByTestId("differ"), page.getByTestId("answered-by").first(), page.getByText("one note")].map((words) =>
      words.boundingBox(),
    ),
  );
  expect(model!.y).toBeGreaterThanOrEqual(warning!.y + warning!.height);
  expect(note!.y).toBeGreaterThanOrEqual(model!.y + model!.height);
});

test("what the person answers raises concern, and is kept with the case", async ({ page, url }) => {
  await openApp(page, url);
  await classify(page, "nv.jpg");
  const verdict = page.getByTestId("verdict");
  await expect(verdict).toHaveAttribute("data-kind", "below");
  await page.getByTestId("concern-bleeding").check();
  await expect(verdict).toHaveAttribute("data-kind", "unsure");
  await expect(verdict).toContainText("show the lesion to a doctor, whatever the model says: bleeding or oozing");
  await save(page, "Bleeds");
  await expect(page.getByTestId("visit").getByTestId("verdict")).toContainText("bleeding or oozing");
  await page.getByRole("link", { name: "Check" }).click();
  await classify(page, "mel.jpg");
  await expect(page.getByTestId("concern-bleeding")).not.toBeChecked(); // another lesion
  await expect(verdict).toHaveAttribute("data-kind", "above");
  await page.getByTestId("concern-new").check();
  await expect(verdict).toHaveAttribute("data-kind", "above");
});

test.describe("dermatoscope or plain camera", () => {
  test.beforeEach(async ({ page, url }) => {
    await changeSpecs(page, (name, spec) => {
      spec.domain = name === "alpha" ? "dermoscopy" : "clinical";
    });
    await openApp(page, url);
  });
  const question = { name: "How are your photographs taken?" };

  test("is asked before anything is classified, once, and the model follows", async ({ page }) => {
    await expect(page.getByTestId("model-badge")).toContainText("Dermoscopy, 7 classes");
    await choose(page, "mel.jpg");
    const dialog = page.getByRole("dialog", question);
    await expect(dialog).toBeVisible();
    for (let i = 0; i < 3; i++) await page.keyboard.press("Escape");
    await expect(dialog).toBeVisible();
    await expect(page.getByTestId("results")).toBeHidden();
    await expect(page.getByTestId("taken-dermatoscope")).toContainText("Your photograph looks like this.");
    await expect(page.getByTestId("taken-looks")).toHaveCount(1);
    await page.getByTestId("taken-camera").click();
    await expect(dialog).toBeHidden();
    expect(Object.keys(await shown(page))).toHaveLength(6); // the model for plain cameras
    await expect(page.getByTestId("model-badge")).toContainText("Close-up photographs, 6 classes");
    await page.reload();
    await modelReady(page);
    expect(Object.keys(await shown(page))).toHaveLength(6);
    await expect(dialog).toBeHidden();
    await page.getByTestId("taken").getByRole("radio", { name: "through a dermatoscope" }).check();
    await expect.poll(async () => Object.keys(await shown(page)).length).toBe(7);
  });

  test("a model of the other kind gives no verdict", async ({ page }) => {
    await choose(page, "mel.jpg");
    await page.getByTestId("taken-camera").click();
    await shown(page);
    await page.getByRole("link", { name: "Models" }).click();
    const alpha = page.getByTestId("model").filter({ hasText: "alpha" });
    await expect(alpha).toContainText("Not for your photographs");
    await alpha.getByRole("radio").check();
    await page.getByRole("link", { name: "Check" }).click();
    await modelReady(page);
    await expect(page.getByTestId("verdict")).toHaveAttribute("data-kind", "unsure");
    await expect(page.getByTestId("verdict")).toContainText("made for another kind of photograph");
    await expect(page.getByTestId("prediction-set")).toBeHidden();
    await page.getByTestId("fitting-model").click();
    await expect.poll(async () => Object.keys(await shown(page)).length).toBe(6);
  });

  test("what the model recognises as a plain photograph is named, and the fitting model is one touch away", async ({
    page,
  }) => {
    await choose(page, "green.png");
    await expect(page.getByTestId("taken-camera")).toContainText("Your photograph looks like this.");
    await page.getByTestId("taken-dermatoscope").click();
    await expect(page.getByTestId("verdict")).toContainText("This looks like a plain photograph");
    await page.getByRole("button", { name: "My photographs are taken with a plain camera" }).click();
    await expect(page.getByTestId("model-badge")).toContainText("Close-up photographs, 6 classes");
    await expect(page.getByTestId("taken").getByRole("radio", { name: "with a plain camera" })).toBeChecked();
  });
});

test("a reload and a closed tab lose no photograph, no crop and no answer to a question", async ({ url }) => {
  const browser = await chromium.launch(launchOptions());
  const context = await browser.newContext({ locale: "en-GB" });
  const first = await context.newPage();
  await openApp(first, url);
  await choose(first, "mel.jpg", "nv.jpg");
  await shown(first);
  await first.getByRole("button", { name: "Photograph 1" }).click();
  await first.getByTestId("edit").click();
  await first.getByTestId("square").click();
  await first.getByTestId("apply-crop").click();
  await first.getByTestId("concern-growing").check();
  await first.getByTestId("save").click();
  await first.getByTestId("case-title").fill("half written");
  await first.getByTestId("case-note").fill("seen in spring");
  await first.keyboard.press("Escape");
  await expect(first.getByRole("dialog")).toBeHidden();
  const before = await shown(first);
  await expect
    .poll(() => stored(first, "drafts"))
    .toMatchObject([{ concerns: ["growing"], words: { title: "half written", note: "seen in spring" } }]);
  await first.reload();
  await expect(first.getByTestId("notice-done")).toContainText("Your photographs from before are back: 2."); // a while
  await modelReady(first);
  await expect(first.getByTestId("small-answer")).toHaveCount(2);
  expect(await shown(first)).toEqual(before);
  await expect(first.getByTestId("concern-growing")).toBeChecked();
  await first.getByTestId("save").click();
  await expect(first.getByTestId("case-title")).toHaveValue("half written");
  await expect(first.getByTestId("case-note")).toHaveValue("seen in spring");
  await expect(first.getByTestId("case-note")).toBeVisible();
  await first.keyboard.press("Escape");

  // Another tab has a check of its own while this one is open, and takes over what a closed one leaves.
  const second = await context.newPage();
  await openApp(second, url);
  await expect(second.getByRole("heading", { level: 1, name: "Look closer at a spot" })).toBeVisible();
  await expect(second.getByTestId("small-answer")).toHaveCount(0);
  await second.close();
  await first.close();
  const third = await context.newPage();
  await openApp(third, url);
  await expect(third.getByTestId("small-answer")).toHaveCount(2);
  expect(await shown(third)).toEqual(before);
  await third.getByTestId("start-over").click();
  await expect(third.getByTestId("results")).toBeHidden();
  await expect.poll(() => stored(third, "drafts")).toEqual([]);
  await third.reload();
  await modelReady(third);
  await expect(third.getByTestId("results")).toBeHidden();
  await browser.close();
});

test("what is removed can be brought back", async ({ page, url }) => {
  await openApp(page, url);
  await choose(page, "mel.jpg", "nv.jpg");
  await expect(page.getByTestId("small-answer")).toHaveCount(2);
  const before = await shown(page);
  await page.getByRole("button", { name: "Remove this photograph" }).click();
  await expect(page.getByTestId("small-answer")).toHaveCount(0); // one is left
  await page.getByTestId("undo").click();
  await expect(page.getByTestId("small-answer")).toHaveCount(2);
  expect(await shown(page)).toEqual(before);
  await page.getByTestId("start-over").click();
  await expect(page.getByTestId("results")).toBeHidden();
  await page.getByTestId("undo").click();
  await expect(page.getByTestId("small-answer")).toHaveCount(2);
  expect(await shown(page)).toEqual(before);
});

test("an older export loses no newer note, and both are shown", async ({ page, url }, info) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  await save(page, "Mole");
  await page.getByRole("link", { name: "Notebook" }).first().click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByTestId("export").click()]);
  const file = info.outputPath("older.json");
  await download.saveAs(file);
  const older = JSON.parse(readFileSync(file, "utf8")) as { cases: { note: string }[] };
  older.cases[0].note = "what the older export says";
  writeFileSync(file, JSON.stringify(older));
  await page.getByTestId("case").click();
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByRole("dialog").getByLabel("Note").fill("the newer note");
  await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("main")).toContainText("the newer note");
  await page.getByRole("link", { name: "Notebook" }).first().click();
  await page.getByTestId("import-input").setInputFiles(file);
  await expect(page.getByTestId("notice-done").filter({ hasText: "Imported: 0 new, 1 updated" })).toBeVisible();
  await expect(page.getByTestId("has-conflicts")).toBeVisible();
  await page.getByTestId("case").click();
  const conflict = page.getByTestId("conflict");
  await expect(page.locator(".case-head")).toContainText("the newer note");
  await expect(conflict).toContainText("what the older export says");
  await page.getByTestId("conflict-drop").click();
  await expect(conflict).toBeHidden();
  await expect(page.locator(".case-head")).toContainText("the newer note");
});
