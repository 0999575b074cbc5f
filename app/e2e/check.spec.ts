import { readFileSync } from "node:fs";
import { expected } from "../tests/fixtures";
import { choose, classify, expect, openApp, photoPath, shown, test } from "./app";

const CODES = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"];

function agrees(actual: Record<string, number>, name: string): void {
  CODES.forEach((code, i) =>
    expect(Math.abs(actual[code] - expected[name].probabilities[i]), `${name} ${code}`).toBeLessThan(1e-3),
  );
}

test("the first start asks to read the notice, and only the first", async ({ page, url }) => {
  await page.goto(url);
  const notice = page.getByRole("dialog", { name: "Before you start" });
  await expect(notice).toContainText("not a medical device");
  for (let i = 0; i < 3; i++) await page.keyboard.press("Escape");
  await expect(notice).toBeVisible();
  await page.getByTestId("accept-notice").click();
  await expect(notice).toBeHidden();
  await page.reload();
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  await expect(notice).toBeHidden();
});

test("every photograph gets Python's probabilities, whatever its format and orientation", async ({ page, url }) => {
  await openApp(page, url);
  for (const name of Object.keys(expected)) agrees(await classify(page, name), name);
});

test("the answer: verdict, chips, bars, line, what the model knows, notice", async ({ page, url }) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  const verdict = page.getByTestId("verdict");
  await expect(verdict).toHaveAttribute("data-kind", "above");
  await expect(verdict.getByRole("heading")).toHaveText("Above the line for malignant classes");
  await expect(verdict).toContainText("the line is at 20 %");
  await expect(verdict).toContainText("Of 100 malignant images in validation about 5 lay below this line");
  await expect(verdict).toContainText("of 100 benign ones about 48 lay above it");
  await expect(page.getByTestId("spoken")).toContainText("Above the line for malignant classes");
  await expect(page.getByTestId("spoken")).toContainText("Not a diagnosis");
  await expect(page.locator(".session-verdict")).toContainText("Not a diagnosis");
  await expect(page.getByTestId("prediction-set").getByRole("listitem").first()).toContainText("Melanoma");
  await expect(page.getByTestId("knows")).toContainText("This model knows 7 classes only");
  await expect(page.getByTestId("knows")).toContainText("Other diseases exist");
  await page.getByTestId("malignant-probability").getByRole("radio", { name: "90 %" }).check();
  await expect(verdict).toContainText("the line is at 35 %");
  await classify(page, "orientation-6.jpg");
  await expect(verdict).toHaveAttribute("data-kind", "below");
  await expect(verdict).toContainText("the line is at 35 %"); // remembered
  await expect(verdict).toContainText("does not rule out cancer");
});

test("photographs can be dropped and pasted", async ({ page, url }) => {
  await openApp(page, url);
  const content = readFileSync(photoPath("nv.jpg")).toString("base64");
  const transfer = await page.evaluateHandle((base64) => {
    const data = new DataTransfer();
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    data.items.add(new File([bytes], "nv.jpg", { type: "image/jpeg" }));
    return data;
  }, content);
  await page.getByTestId("drop-area").dispatchEvent("drop", { dataTransfer: transfer });
  agrees(await shown(page), "nv.jpg");
  await page.evaluate((data) => dispatchEvent(new ClipboardEvent("paste", { clipboardData: data })), transfer);
  await expect(page.getByTestId("averaged")).toHaveText("Mean of 2 photographs.");
});

test("several photographs are averaged; those the model can't tell are left out", async ({ page, url }) => {
  await openApp(page, url);
  await choose(page, "mel.jpg", "nv.jpg");
  const small = page.getByTestId("small-answer"); // each has its own
  await expect(small).toHaveText([/above the line.*Melanoma 74.%/s, /below the line.*Melanocytic nevus 97.%/s]);
  await expect(page.getByTestId("differ")).toContainText("look like different lesions");
  await expect(page.getByTestId("averaged")).toHaveText("Mean of 2 photographs.");
  const mean = await shown(page);
  CODES.forEach((code, i) => {
    const half = (expected["mel.jpg"].probabilities[i] + expected["nv.jpg"].probabilities[i]) / 2;
    expect(Math.abs(mean[code] - half)).toBeLessThan(1e-3);
  });
  await choose(page, "green.png");
  await expect(page.getByTestId("averaged")).toHaveText(
    "Photographs in the mean: 2. Left out, since the model can't tell on them: 1.",
  );
  expect(await shown(page)).toEqual(mean);
  await expect(small.nth(2)).toContainText("Can't tell");
  await page.getByRole("button", { name: "Photograph 2" }).click();
  await page.getByRole("button", { name: "Remove this photograph" }).click();
  await expect(page.getByTestId("averaged")).toContainText("Photographs in the mean: 1.");
});

test("an image unlike the training images gets no answer, with the reason", async ({ page, url }) => {
  await openApp(page, url);
  await classify(page, "green.png");
  const verdict = page.getByTestId("verdict");
  await expect(verdict).toHaveAttribute("data-kind", "unsure");
  await expect(verdict).toContainText("Can't tell");
  await expect(verdict).toContainText("unlike those the model learned from");
  await expect(verdict).toContainText("hardly anything to see");
  await expect(page.getByTestId("malignant-probability")).toBeHidden();
  await expect(page.getByTestId("prediction-set")).toBeHidden();
  await expect(page.getByTestId("hints")).toBeHidden();
});

test("the heat map covers the photograph as strongly as the slider says, for the class chosen", async ({
  page,
  url,
}) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  const heat = page.getByTestId("heat");
  await expect(heat).toBeHidden(); // until it is asked for
  await page.getByTestId("heat-toggle").click();
  const drawn = (): Promise<number[]> =>
    heat.evaluate((canvas: HTMLCanvasElement) => {
      const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
      const alpha = [...data].filter((_, i) => i % 4 === 3);
      return [Math.max(...alpha), alpha.reduce((sum, value) => sum + value, 0)];
    });
  const [peak, forMelanoma] = await drawn();
  expect(peak).toBeGreaterThanOrEqual(250); // between the map's places, the drawn peak is a little lower than the map's
  await page.getByTestId("heat-slider").fill("80");
  await expect(heat).toHaveCSS("opacity", "0.8");
  await page.getByRole("button", { name: /Vascular lesion/ }).click();
  expect((await drawn())[1]).not.toBe(forMelanoma);
  const [photo, map] = [await page.getByTestId("photo").boundingBox(), await heat.boundingBox()];
  expect(map).toEqual(photo);
  await page.getByTestId("heat-toggle").click();
  await expect(heat).toBeHidden();
  await page.getByTestId("heat-toggle").click();
  const second = page.getByTestId("bars").locator("li").nth(1);
  await second.getByRole("button").click();
  const name = (await second.locator(".bar-name").evaluate((bar) => bar.firstChild!.textContent))!;
  await expect(page.getByTestId("heat-of")).toContainText(`“${name}”`);
  await classify(page, "nv.jpg");
  await expect(heat).toBeHidden(); // another lesion
});

test("crop and turn change what is classified", async ({ page, url }) => {
  await openApp(page, url);
  const whole = await classify(page, "mel.jpg");
  await page.getByTestId("edit").click();
  await page.getByTestId("square").click();
  await page.getByTestId("apply-crop").click();
  await expect.poll(async () => (await shown(page))["mel"]).not.toBe(whole["mel"]);
  const viewer = await page.locator(".viewer").boundingBox();
  expect(Math.abs(viewer!.width / viewer!.height - 1)).toBeLessThan(0.02);
  // Turned once it is no longer what it was; turned four times and uncropped it is.
  const cropped = await shown(page);
  await page.getByTestId("edit").click();
  await page.getByTestId("turn").click();
  await page.getByTestId("apply-crop").click();
  await expect.poll(async () => (await shown(page))["mel"]).not.toBe(cropped["mel"]);
  await page.getByTestId("edit").click();
  for (let i = 0; i < 3; i++) await page.getByTestId("turn").click();
  await page.getByRole("button", { name: "Whole image" }).click();
  await page.getByTestId("apply-crop").click();
  await expect.poll(async () => (await shown(page))["mel"]).toBe(whole["mel"]);
});

test("the crop follows the pointer and the arrow keys", async ({ page, url }) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  await page.getByTestId("edit").click();
  const frame = page.locator(".crop-frame");
  const before = (await frame.boundingBox())!;
  const corner = (await page.getByRole("button", { name: "Bottom right corner" }).boundingBox())!;
  await page.mouse.move(corner.x + corner.width - 4, corner.y + corner.height - 4);
  await page.mouse.down();
  await page.mouse.move(corner.x + corner.width - 104, corner.y + corner.height - 54, { steps: 4 });
  await page.mouse.up();
  const after = (await frame.boundingBox())!;
  expect(before.width - after.width).toBeCloseTo(100, -1);
  expect(before.height - after.height).toBeCloseTo(50, -1);
  await page.getByRole("button", { name: "Move the frame" }).focus();
  await page.keyboard.press("ArrowRight");
  expect((await frame.boundingBox())!.x).toBeGreaterThan(after.x + 2);
});
