import { chromium } from "@playwright/test";
import { launchOptions } from "../build/chromium.mjs";
import { expect, openApp, shown, test } from "./app";

test("a photograph from the camera: guide, hint, shutter, answer", async ({ page, url }) => {
  await openApp(page, url);
  await page.getByTestId("camera-button").click();
  const video = page.getByTestId("video");
  await expect.poll(() => video.evaluate((element: HTMLVideoElement) => element.readyState)).toBeGreaterThanOrEqual(2);
  await expect(page.getByTestId("camera-hint")).not.toBeEmpty();
  // The guide is the circle in the square that is kept: 72 % of the frame's shorter side.
  const frame = (await video.boundingBox())!;
  const guide = (await page.locator(".guide").boundingBox())!;
  expect(guide.width / Math.min(frame.width, frame.height)).toBeCloseTo(0.72, 1);
  await page.getByTestId("shutter").click();
  expect(Object.keys(await shown(page))).toHaveLength(7);
  const viewer = (await page.locator(".viewer").boundingBox())!;
  expect(viewer.width / viewer.height).toBeCloseTo(1, 1);
  expect(await page.evaluate(() => document.querySelector("video"))).toBeNull(); // the camera is off again
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
