import { defineConfig } from "@playwright/test";
import { launchOptions } from "./build/chromium.mjs";

export default defineConfig({
  testDir: "e2e",
  globalSetup: "./e2e/setup.ts",
  outputDir: "test-results",
  fullyParallel: false,
  workers: 1,
  forbidOnly: true,
  retries: process.env.CI ? 1 : 0, // a loaded machine; a test that needed it is listed as flaky
  reporter: [["list"]],
  // Nothing here is judged by its speed: on a machine that trains meanwhile a page takes a minute to come.
  timeout: 600_000,
  expect: { timeout: 120_000 },
  use: {
    locale: "en-GB",
    viewport: { width: 1100, height: 800 },
    launchOptions: launchOptions(["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]),
    serviceWorkers: "block", // offline.spec.ts has them; elsewhere they would only fill caches anew for every test
    trace: "off",
  },
});
