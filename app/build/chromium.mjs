/** Where a Chromium is that Playwright can drive: LENTIGO_CHROMIUM, the system's, or else Playwright's own. */

import { existsSync } from "node:fs";

const PLACES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/usr/bin/google-chrome-stable",
];

// Pages of the browser's own window that a fresh profile draws ahead: they would take a third of a start's processor time.
const OWN_PAGES = ["WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup", "PreloadTopChromeWebUI"];

export function launchOptions(extra = []) {
  const executablePath = process.env.LENTIGO_CHROMIUM ?? PLACES.find((place) => existsSync(place));
  // Containers rarely allow Chromium's own sandbox; only the app itself is opened here.
  return {
    ...(executablePath ? { executablePath } : {}),
    args: ["--no-sandbox", `--disable-features=${OWN_PAGES}`, ...extra],
  };
}
