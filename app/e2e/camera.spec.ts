import { chromium } from "@playwright/test";
import { launchOptions } from "../build/chromium.mjs";
import { classify, expect, openApp, save, shown, test } from "./app";

for (const viewport of [
  { width: 360, height: 640 },
  { width: 844, height: 390 },
  { width: 1280, height: 800 },
]) {
  test(`a photograph from the camera at ${viewport.width} x ${viewport.height}: guide, hint, shutter, review, answer`, async ({
    page,
    url,
  }) => {
    await page.setViewportSize(viewport);
    await openApp(page, url);
    await page.getByTestId("camera-button").click();
    const video = page.getByTestId("video");
    await expect
      .poll(() => video.evaluate((element: HTMLVideoElement) => element.readyState))
      .toBeGreaterThanOrEqual(2);
    await expect(page.getByTestId("camera-hint")).not.toBeEmpty();
    // Over the whole screen, the circle as large as fits, the shutter in sight.
    const dialog = (await page.getByRole("dialog").boundingBox())!;
    expect(dialog.height).toBe(viewport.height);
    expect(viewport.width - dialog.width).toBeLessThan(20); // the scroll bar's place
    const frame = (await video.boundingBox())!;
    const guide = (await page.locator(".guide").boundingBox())!;
    expect(guide.width / Math.min(frame.width, frame.height)).toBeCloseTo(0.78, 1);
    expect(guide.width).toBeGreaterThan(250);
    await expect(page.getByTestId("shutter")).toBeInViewport({ ratio: 1 });
    // Looked at before it is used.
    await page.getByTestId("shutter").click();
    await expect(page.getByTestId("review")).toBeVisible();
    await expect(page.getByTestId("use-shot")).toBeInViewport({ ratio: 1 });
    await page.getByTestId("again").click();
    await page.getByTestId("shutter").click();
    await page.getByTestId("use-shot").click();
    expect(Object.keys(await shown(page))).toHaveLength(7);
    const viewer = (await page.locator(".viewer").boundingBox())!;
    expect(viewer.width / viewer.height).toBeCloseTo(1, 1);
    expect(await page.evaluate(() => document.querySelector("video"))).toBeNull(); // the camera is off again
  });
}

test("zoom, focus and level where the device has them", async ({ page, url }) => {
  await page.addInitScript(() => {
    MediaStreamTrack.prototype.getCapabilities = () =>
      ({
        zoom: { min: 1, max: 5, step: 0.5 },
        focusMode: ["continuous", "manual"],
        focusDistance: { min: 0.1, max: 1, step: 0.1 },
      }) as MediaTrackCapabilities;
    const applied: unknown[] = [];
    Object.assign(window, { applied });
    MediaStreamTrack.prototype.applyConstraints = async (constraints) => void applied.push(constraints?.advanced?.[0]);
  });
  await openApp(page, url);
  await page.getByTestId("camera-button").click();
  await page.getByTestId("zoom").fill("2.5");
  await page.getByTestId("focus").fill("0.4");
  expect(await page.evaluate(() => (window as unknown as { applied: unknown }).applied)).toEqual([
    { zoom: 2.5 },
    { focusMode: "manual", focusDistance: 0.4 },
  ]);
  await expect(page.getByTestId("level")).toBeHidden(); // this device does not say
  const tilt = (x: number): Promise<boolean> =>
    page.evaluate(
      (acceleration) =>
        dispatchEvent(
          new DeviceMotionEvent("devicemotion", { accelerationIncludingGravity: { x: acceleration, y: 9.7, z: 0 } }),
        ),
      x,
    );
  await tilt(3);
  await expect(page.getByTestId("level")).toHaveAttribute("data-level", "false");
  await tilt(0.1);
  await expect(page.getByTestId("level")).toHaveAttribute("data-level", "true");
});

test("a lesion that is followed shows the last photograph as a ghost, and is saved with its case", async ({
  page,
  url,
}) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  await save(page, "Followed", { date: "2024-03-02" });
  await page.getByTestId("follow-up").click();
  await expect(page.locator(".ghost")).toBeVisible();
  await page.getByTestId("ghost").uncheck();
  await expect(page.locator(".ghost")).toBeHidden();
  await page.getByTestId("shutter").click();
  await page.getByTestId("use-shot").click();
  await shown(page);
  await page.getByTestId("save").click();
  await expect(page.getByTestId("case-choice").locator("option:checked")).toHaveText("Followed");
  await page.getByTestId("save-case").click();
  await expect(page.getByTestId("visit")).toHaveCount(2);
});

test("a photograph opens over the whole screen and is enlarged by wheel, fingers, keys and buttons", async ({
  page,
  url,
}) => {
  await openApp(page, url);
  await classify(page, "mel.jpg");
  await page.getByTestId("open").click();
  const stage = page.getByTestId("zoom-stage");
  const scale = async (): Promise<number> => Number(await stage.getAttribute("data-scale"));
  await expect(stage.locator("canvas")).toBeVisible();
  expect(await scale()).toBe(1);
  await stage.hover();
  await page.mouse.wheel(0, -500);
  await expect.poll(scale).toBeGreaterThan(2);
  await page.mouse.wheel(0, 5000);
  await expect.poll(scale).toBe(1);
  await page.getByTestId("zoom-in").click();
  await expect.poll(scale).toBeCloseTo(1.4);
  await stage.focus();
  await page.keyboard.press("+");
  await expect.poll(scale).toBeCloseTo(1.96);
  await page.keyboard.press("0");
  await expect.poll(scale).toBe(1);
  // Two fingers that move apart.
  const box = (await stage.boundingBox())!;
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const devtools = await page.context().newCDPSession(page);
  const touch = (type: "touchStart" | "touchMove" | "touchEnd", apart: number) =>
    devtools.send("Input.dispatchTouchEvent", {
      type,
      touchPoints:
        type === "touchEnd"
          ? []
          : [
              { x: x - apart, y, id: 0 },
              { x: x + apart, y, id: 1 },
            ],
    });
  await touch("touchStart", 40);
  for (const apart of [60, 80, 100, 120]) await touch("touchMove", apart);
  await touch("touchEnd", 0);
  await expect.poll(scale).toBeGreaterThan(2.5);
  await page.keyboard.press("Escape");
  await expect(stage).toBeHidden();
  await expect(page.getByTestId("open")).toBeFocused();
});

test("the torch is offered where the camera has one", async ({ page, url }) => {
  await page.addInitScript(() => {
    MediaStreamTrack.prototype.getCapabilities = () => ({ torch: true }) as MediaTrackCapabilities;
    MediaStreamTrack.prototype.applyConstraints = async (constraints) => {
      (window as unknown as { applied: unknown }).applied = constraints;
    };
  });
  await openApp(page, url);
  await page.getByTestId("camera-button").click();
  const torch = page.getByRole("button", { name: "Torch" });
  await torch.click();
  await expect(torch).toHaveAttribute("aria-pressed", "true");
  expect(await page.evaluate(() => (window as unknown as { applied: unknown }).applied)).toEqual({
    advanced: [{ torch: true }],
  });
});

test("going back closes the camera, and it does not open by itself later", async ({ page, url }) => {
  await openApp(page, url);
  await page.getByRole("link", { name: "Notebook" }).first().click();
  await page.getByRole("link", { name: "Check" }).click();
  await page.getByTestId("camera-button").click();
  await expect(page.getByTestId("shutter")).toBeEnabled();
  await page.goBack();
  await expect(page.getByRole("heading", { name: "Notebook" })).toBeVisible();
  await expect(page.getByTestId("shutter")).toBeHidden();
  await page.getByRole("link", { name: "Check" }).click();
  await expect(page.getByTestId("camera-button")).toBeVisible();
  await expect(page.getByRole("dialog")).toBeHidden();
});

test("a refused camera is told, and a file can still be chosen", async ({ url }) => {
  const browser = await chromium.launch(
    launchOptions(["--use-fake-device-for-media-stream", "--deny-permission-prompts"]),
  );
  const page = await browser.newPage({ locale: "en-GB" });
  await openApp(page, url);
  await page.getByTestId("camera-button").click();
  await expect(page.getByTestId("notice-error")).toContainText("The camera is not allowed for this site");
  await expect(page.getByRole("dialog")).toBeHidden();
  await expect(page.getByRole("button", { name: "Choose photographs" })).toBeEnabled();
  await browser.close();
});

test("no camera at all is told", async ({ url }) => {
  const browser = await chromium.launch(launchOptions());
  const page = await browser.newPage({ locale: "en-GB", permissions: ["camera"] });
  await openApp(page, url);
  await page.getByTestId("camera-button").click();
  await expect(page.getByTestId("notice-error")).toContainText("No camera was found");
  await browser.close();
});
