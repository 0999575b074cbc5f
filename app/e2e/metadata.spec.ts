/** Age, sex and site beside the photograph. */

import { changeSpecs, choose, classify, expect, openApp, save, shown, stored, test } from "./app";

test("age and site change the probabilities, never lower concern, and are kept and prefilled", async ({
  page,
  url,
}) => {
  const born = new Date().getFullYear() - 45;
  const lowering = [-3, -3, 1, 1, -3, 1, 1]; // for the malignant classes of "alpha"
  await changeSpecs(page, (name, spec) => {
    const log_ratios = { age: { 40: lowering }, site: { back: lowering, face: lowering } };
    if (name === "alpha") Object.assign(spec, { format: 3, metadata: { log_ratios, groups: { age: 300, site: 300 } } });
  });
  await openApp(page, url);
  const alone = await classify(page, "mel.jpg");
  await expect(page.getByTestId("verdict")).toHaveAttribute("data-kind", "above");
  await page.getByTestId("beside-age").fill("45");
  await page.getByTestId("beside-site").selectOption("back");
  const both = await shown(page);
  expect(both["mel"]).toBeLessThan(alone["mel"] / 2);
  await expect(page.getByTestId("verdict")).toHaveAttribute("data-kind", "above");
  await expect(page.getByTestId("verdict")).toContainText("with age 45, Back");
  await page.getByTestId("beside-age").fill("200"); // no age
  await page.getByTestId("beside-site").selectOption("");
  expect(await shown(page)).toEqual(alone);

  // What was said survives a reload, and is kept with the date.
  await page.getByTestId("beside-age").fill("45");
  await expect.poll(async () => (await stored(page, "drafts")).at(0)?.["known"]).toMatchObject({ age: "45" });
  await page.reload();
  await shown(page);
  await expect(page.getByTestId("beside-age")).toHaveValue("45");
  // The place that is marked when it is saved answers the question too, and the other way round.
  await page.getByTestId("save").click();
  await page.getByTestId("site").selectOption("front:face");
  await page.keyboard.press("Escape");
  await expect(page.getByTestId("beside-site")).toHaveValue("face");
  await page.getByTestId("beside-site").selectOption("back");
  await page.getByTestId("save").click();
  await expect(page.getByTestId("site")).toBeVisible(); // before that, Escape would not reach the dialog
  await expect(page.getByTestId("site")).toHaveValue("");
  await page.keyboard.press("Escape");
  await page.getByTestId("beside-site").selectOption("face");
  await page.getByTestId("save").click();
  await expect(page.getByTestId("site")).toHaveValue("front:face");
  await expect(page.getByTestId("saved-verdict")).toHaveText("Above the line for malignant classes");
  await expect(page.getByTestId("saved-verdict")).toBeVisible();
  await page.keyboard.press("Escape");
  await save(page, "Known", { site: "back:upperBack" });
  await expect(page.getByTestId("visit").getByTestId("verdict")).toContainText("with age 45, Upper back");
  expect((await stored(page, "visits"))[0]["beside"]).toEqual({
    known: { age: "45", site: "upperBack" },
    ratios: lowering.map((ratio) => 2 * ratio),
  });

  // A lesion that is followed brings its site, and its patient's age.
  await page.getByRole("link", { name: "Patients" }).first().click();
  await page.getByTestId("new-patient").click();
  await page.getByTestId("patient-code").fill("P-007");
  await page.getByTestId("birth-year").fill(String(born));
  await page.getByTestId("save-patient").click();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("P-007");
  await page.getByRole("link", { name: "Notebook" }).first().click();
  await page.getByTestId("case").click();
  await page.getByTestId("lesion-patient").selectOption({ label: "P-007" });
  await expect.poll(async () => (await stored(page, "cases"))[0]["clinical"]).toMatchObject({ diagnosis: "" });
  await page.getByTestId("follow-up").click();
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).first().click();
  await choose(page, "nv.jpg");
  await shown(page);
  await expect(page.getByTestId("beside-site")).toHaveValue("back");
  await expect(page.getByTestId("beside-age")).toHaveValue("45");
});
