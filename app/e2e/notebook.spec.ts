import { readFileSync, writeFileSync } from "node:fs";
import { classify, expect, modelReady, openApp, photoPath, save, test } from "./app";

test("a case is saved, found, compared, printed, exported, deleted and imported", async ({ page, url }, info) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  await save(page, "Mole on the arm", { site: "front:left.forearm", note: "seen in spring", date: "2024-03-02" });
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Mole on the arm");
  await expect(page.getByTestId("visit")).toContainText("2 Mar 2024");
  await expect(page.getByTestId("visit").getByTestId("verdict")).toHaveAttribute("data-kind", "above");
  await expect(page.getByTestId("visit").getByTestId("prediction-set")).toContainText("Melanoma");
  await expect(page.getByTestId("visit")).toContainText("seen in spring");
  await expect(page.getByTestId("visit")).toContainText("version 1");
  await expect(page.getByTestId("visit")).toContainText("Not a diagnosis");

  // A second date of the same lesion, and another lesion.
  await page.getByRole("link", { name: "Check" }).click();
  await classify(page, "nv.jpg");
  await page.getByTestId("save").click();
  await page.getByTestId("case-choice").selectOption({ label: "Mole on the arm" });
  await page.getByTestId("save-case").click();
  await expect(page.getByTestId("visit")).toHaveCount(2);
  await page.getByTestId("compare-button").click();
  await expect(page.getByTestId("compare").getByTestId("visit")).toHaveCount(2);
  await expect(page.getByTestId("compare-probability")).toContainText("on the first date");
  const sides = page.getByTestId("compare").getByTestId("visit");
  const first = sides.first();
  const [top, other] = await sides.evaluateAll((all) => all.map((side) => side.getBoundingClientRect().top));
  expect(top).toBeCloseTo(other, 0);
  await expect(first).toContainText("2 Mar 2024");
  await expect(page.getByTestId("compare-bars").locator("li").first()).toContainText(/2 Mar 2024.*%.*%/s);

  // On paper: the case without the controls.
  await page.emulateMedia({ media: "print" });
  await expect(page.getByTestId("print")).toBeHidden();
  await expect(page.getByRole("navigation")).toBeHidden();
  await expect(first).toBeVisible();
  await expect(page.locator(".foot").getByText("not a medical device")).toBeVisible();
  expect((await page.pdf()).length).toBeGreaterThan(10_000);
  await page.emulateMedia({ media: "screen" });
  await page.evaluate(() => (window.print = () => document.body.setAttribute("data-printed", "")));
  await page.getByTestId("print").click();
  await expect(page.locator("body")).toHaveAttribute("data-printed");

  await page.getByRole("link", { name: "Check" }).click();
  await classify(page, "bkl.jpg");
  await save(page, "Spot on the back", { site: "back:upperBack" });

  // Found by title, place, note and class.
  await page.getByRole("link", { name: "Notebook" }).first().click();
  await expect(page.getByTestId("case")).toHaveCount(2);
  await expect(page.getByTestId("storage")).toContainText("used on this device");
  for (const [query, count] of [
    ["arm", 1],
    ["upper back", 1],
    ["SPRING", 1],
    ["melanoma", 1],
    ["nothing like it", 0],
  ] as const) {
    await page.getByTestId("search").fill(query);
    await expect(page.getByTestId("case")).toHaveCount(count);
  }
  await page.getByTestId("search").fill("");

  const [download] = await Promise.all([page.waitForEvent("download"), page.getByTestId("export").click()]);
  const file = info.outputPath("notebook.json");
  await download.saveAs(file);
  const exported = JSON.parse(readFileSync(file, "utf8")) as { cases: { visits: { photos: { image: string }[] }[] }[] };
  expect(exported.cases).toHaveLength(2);
  expect(
    exported.cases
      .flatMap((one) => one.visits)
      .every((visit) => visit.photos[0].image.startsWith("data:image/jpeg;base64,")),
  ).toBe(true);

  await page.getByTestId("delete-all").click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete all cases" }).click();
  await expect(page.getByTestId("no-cases")).toBeVisible();
  await page.reload();
  await expect(page.getByTestId("no-cases")).toBeVisible();

  await page.getByTestId("import-input").setInputFiles(file);
  await expect(page.getByTestId("notice-done").filter({ hasText: "Imported: 2 new" })).toBeVisible();
  await expect(page.getByTestId("case")).toHaveCount(2);
  await page.getByTestId("import-input").setInputFiles(file); // a second time changes nothing
  await expect(page.getByTestId("notice-done").filter({ hasText: "2 unchanged" })).toBeVisible();
  await expect(page.getByTestId("case")).toHaveCount(2);
  await page.getByTestId("case").filter({ hasText: "Mole on the arm" }).click();
  await expect(page.getByTestId("visit")).toHaveCount(2);
  await expect(page.getByTestId("photo").first()).toBeVisible();

  // One date, then the whole case.
  await page.getByRole("button", { name: "Delete this date" }).first().click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
  await expect(page.getByTestId("visit")).toHaveCount(1);
  await page.getByTestId("delete-case").click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
  await expect(page.getByTestId("case")).toHaveCount(1);

  // A file that is no notebook changes nothing.
  const wrong = info.outputPath("wrong.json");
  writeFileSync(wrong, readFileSync(file, "utf8").replace('"abstained":false', '"abstained":"no"'));
  await page.getByTestId("import-input").setInputFiles(wrong);
  await expect(page.getByTestId("notice-error")).toContainText("nothing was imported");
  await expect(page.getByTestId("case")).toHaveCount(1);
});

test("a case of one date is one page on paper", async ({ page, url }) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  await save(page, "Mole", { site: "front:left.forearm", note: "seen in spring" });
  await expect(page.getByTestId("photo")).toBeVisible();
  const pdf = (await page.pdf({ format: "A4" })).toString("latin1");
  expect(pdf.match(/\/Type\s*\/Page\b/g)).toHaveLength(1);
});

test("the place is marked on the drawn body", async ({ page, url }) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  await page.getByTestId("save").click();
  const figure = page.getByRole("img", { name: "Front" });
  await figure.locator("[data-region='left.thigh']").click();
  await expect(page.getByTestId("site")).toHaveValue("front:left.thigh");
  await expect(figure.locator(".body-marker")).toBeVisible();
  await page.getByTestId("site").selectOption("back:scalp");
  await expect(figure.locator(".body-marker")).toBeHidden();
  await page.getByTestId("save-case").click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Scalp"); // no title: the place is the title
});

test("a full device is told, and nothing is half saved", async ({ page, url, context }) => {
  // Before anything is written: browsers remember for a while how much space there was.
  const devtools = await context.newCDPSession(page);
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: new URL(url).origin, quotaSize: 1 });
  await openApp(page, url);
  await classify(page, "mel.jpg");
  await page.getByTestId("save").click();
  await page.getByTestId("case-title").fill("Too much");
  await page.getByTestId("save-case").click();
  // What is under way does not fit either; which of the two is told first is open.
  await expect(page.getByTestId("notice-error").filter({ hasText: "no space left for this" })).toBeVisible();
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: new URL(url).origin });
  await page.getByTestId("save-case").click();
  await expect(page.getByTestId("visit")).toBeVisible();
  await page.getByRole("link", { name: "Notebook" }).first().click();
  await expect(page.getByTestId("case")).toHaveCount(1);
});

test("a browser that keeps nothing is told", async ({ page, url }) => {
  await page.addInitScript(() => {
    IDBFactory.prototype.open = () => {
      throw new DOMException("blocked", "SecurityError");
    };
  });
  await openApp(page, url);
  await classify(page, "mel.jpg");
  await page.getByTestId("save").click();
  await expect(page.getByTestId("notice-error")).toContainText("This browser keeps no data for this site");
  await expect(page.getByTestId("results")).toBeVisible();
});

test("a lesion is photographed, measured, described and filtered without a model's answer", async ({ page, url }) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  await save(page, "Answered", { site: "back:upperBack", date: "2024-03-02" });
  await page.getByRole("link", { name: "Notebook" }).first().click();
  await page.getByTestId("new-lesion").click();
  await page.getByTestId("case-title").fill("Seen by eye");
  await page.getByTestId("site").selectOption("front:left.forearm");
  await page.getByTestId("save-case").click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Seen by eye");
  await page.getByTestId("plain-input").setInputFiles([photoPath("mel.jpg"), photoPath("nv.jpg")]);
  await expect(page.getByTestId("photo")).toHaveCount(2);
  await expect(page.getByTestId("verdict")).toHaveCount(0);
  await expect(page.getByTestId("answered-by")).toHaveText("Without a model's answer.");
  await page.getByTestId("plain-date").fill("2024-02-01");
  await page.getByTestId("plain-date").blur();
  await page.getByTestId("plain-note").fill("flat, regular");
  await page.getByTestId("plain-note").blur();
  await page.getByTestId("diagnosis").fill("lentigo simplex");
  await page.getByTestId("diagnosis").blur();
  await page.getByTestId("measure").first().click();
  await page.getByTestId("save-outline").click();
  await expect(page.getByTestId("figures")).toBeVisible();
  await page.reload();
  await expect(page.getByTestId("plain-note")).toHaveValue("flat, regular");
  await expect(page.getByTestId("plain-date")).toHaveValue("2024-02-01");
  await expect(page.getByTestId("diagnosis")).toHaveValue("lentigo simplex");
  await expect(page.getByTestId("photo")).toHaveCount(2);

  // A photograph that is taken out can be brought back, and the camera gives one more at another date.
  await page.getByRole("button", { name: "Remove this photograph" }).first().click();
  await expect(page.getByTestId("photo")).toHaveCount(1);
  await page.getByTestId("undo").click();
  await expect(page.getByTestId("photo")).toHaveCount(2);
  await page.getByTestId("add-date").click();
  await expect(page.getByTestId("visit")).toHaveCount(2);
  await page.getByTestId("plain-camera").first().click();
  await page.getByTestId("shutter").click();
  await page.getByTestId("use-shot").click();
  await expect(page.getByTestId("photo")).toHaveCount(3);
  await page.getByTestId("compare-button").click();
  await expect(page.getByTestId("compare")).not.toContainText("Different models");
  await expect(page.getByTestId("compare-bars")).toHaveCount(0);
  await page.getByTestId("report-link").click();
  await expect(page.getByTestId("report")).toContainText("Without a model's answer.");

  await page.getByRole("link", { name: "Notebook" }).first().click();
  await expect(page.getByTestId("case")).toHaveCount(2);
  await page.getByTestId("filters").locator("summary").click();
  const titles = page.getByTestId("case").locator("strong");
  for (const [filter, value, title] of [
    ["filter-verdict", "above", "Answered"],
    ["filter-place", "front:left.forearm", "Seen by eye"],
  ] as const) {
    await page.getByTestId(filter).selectOption(value);
    await expect(titles).toHaveText([title]);
    await page.getByTestId("case").click(); // what is looked for stays while a lesion is looked at
    await page.locator(".back").click();
    await expect(titles).toHaveText([title]);
    await expect(page.getByTestId("shown-of")).toContainText("1 of 2 lesions");
    await page.getByTestId("show-all").click();
    await expect(titles).toHaveCount(2);
    await page.getByTestId("filters").locator("summary").click();
  }
});

test("an answer of another model is named at follow-up, on the lesion's page and where dates are compared", async ({
  page,
  url,
}) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  await save(page, "Two models", { date: "2024-03-02" });
  await page.getByRole("link", { name: "Models" }).click();
  await page.getByTestId("model").filter({ hasText: "beta" }).getByRole("radio").check();
  await page.getByRole("link", { name: "Check" }).click();
  await modelReady(page);
  await classify(page, "mel.jpg");
  await page.getByTestId("save").click();
  await expect(page.getByTestId("other-model")).toBeHidden();
  await page.getByTestId("case-choice").selectOption({ label: "Two models" });
  await expect(page.getByTestId("other-model")).toContainText("answered by another model");
  await page.getByTestId("save-case").click();
  await expect(page.getByTestId("other-models")).toContainText("cannot be compared with each other");
  await page.getByTestId("compare-button").click();
  await expect(page.getByTestId("compare-models")).toBeVisible();
  const names = await page.getByTestId("compare").getByTestId("answered-by").allTextContents();
  expect(new Set(names).size).toBe(2);
});

test("a notebook of a version without the index tells how far its reading has come", async ({ page, url }) => {
  await openApp(page, url);
  await page.evaluate(async () => {
    const db = await new Promise<IDBDatabase>((resolve) => {
      const request = indexedDB.open("lentigo");
      request.onsuccess = () => resolve(request.result);
    });
    const transaction = db.transaction(["cases", "visits"], "readwrite");
    const created = "2024-03-02T10:00:00.000Z";
    transaction
      .objectStore("cases")
      .put({ id: "c", title: "Many dates", site: null, note: "", created, updated: created });
    for (let i = 0; i < 400; i++) {
      transaction.objectStore("visits").put({
        ...{ id: `v${i}`, caseId: "c", date: "2024-03-02", note: "", photos: [], classes: [], probabilities: [] },
        ...{ malignant: null, operatingPoint: null, abstained: false, model: null, created },
      });
    }
    await new Promise((resolve) => (transaction.oncomplete = resolve));
    db.close();
    // What is shown at any moment is noted by the page itself: reading may be over before the test looks.
    new MutationObserver(() => {
      const shown = document.querySelector("[data-testid=indexing]");
      if (shown) document.body.dataset["indexing"] = shown.textContent;
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  await page.getByRole("link", { name: "Notebook" }).first().click();
  await expect(page.getByTestId("case")).toContainText("Dates: 400");
  await expect(page.getByTestId("indexing")).toBeHidden();
  expect(await page.locator("body").getAttribute("data-indexing")).toMatch(/\d+ of 400 dates/);
});
