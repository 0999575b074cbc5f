/** What the browser tests share: a server, a page that has the app open, and how to classify with it. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, type Page, test as base } from "@playwright/test";
import { serve } from "../build/serve.mjs";
import { BUNDLES, PHOTOS } from "../tests/fixtures";

export { expect };

/** The app built for these tests (see setup.ts). */
export const STATIC = path.join(path.dirname(import.meta.dirname), "node_modules/.cache/lentigo-e2e/static");

export const photoPath = (name: string): string => path.join(PHOTOS, name);

interface Options {
  /** The app's address. */
  url: string;
  /** Every request and every error of the page; checked after each test. */
  watched: { foreign: string[]; errors: string[] };
}

export const test = base.extend<Pick<Options, "watched">, Pick<Options, "url">>({
  url: [
    async ({}, use) => {
      const { server, url } = await serve(STATIC);
      await use(url);
      server.closeAllConnections();
      server.close();
    },
    { scope: "worker" },
  ],
  watched: [
    async ({ context, url }, use) => {
      const watched: Options["watched"] = { foreign: [], errors: [] };
      context.on("request", (request) => {
        const address = request.url();
        if (!address.startsWith(url) && !/^(blob|data):/.test(address)) watched.foreign.push(address);
      });
      context.on("requestfailed", (request) => {
        // Announced to the test, but never sent.
        if (request.failure()?.errorText === "csp") watched.foreign.splice(watched.foreign.indexOf(request.url()), 1);
      });
      context.on("weberror", (error) => watched.errors.push(String(error.error())));
      await use(watched);
      expect(watched.foreign, "requests that left the app's own origin").toEqual([]);
      expect(watched.errors, "uncaught errors").toEqual([]);
    },
    { auto: true },
  ],
});

/** Open the app as somebody who has read the notice, and wait for the model. */
export async function openApp(page: Page, url: string, hash = ""): Promise<void> {
  await page.addInitScript(() => localStorage.setItem("lentigo.notice", "read"));
  await page.goto(url + hash);
  if (hash === "") await modelReady(page);
}

type Changed = { domain: string; operating_points: { name: string; threshold: number }[]; title: string };

/** Serve the packaged bundles with changed specifications, so that "alpha" can be a dermatoscope's model, say. */
export async function changeSpecs(page: Page, change: (name: string, spec: Changed) => void): Promise<void> {
  const changed = Object.fromEntries(
    ["alpha", "beta"].map((name) => {
      const spec = JSON.parse(readFileSync(path.join(BUNDLES, name, "spec.json"), "utf8")) as Changed;
      change(name, spec);
      return [name, { spec, text: JSON.stringify(spec) }];
    }),
  );
  await page.route("**/bundles/*/spec.json*", async (route) => {
    const name = new URL(route.request().url()).pathname.split("/").at(-2)!;
    await route.fulfill({ body: changed[name].text, contentType: "application/json" });
  });
  await page.route("**/bundles/index.json", async (route) => {
    const response = await route.fetch();
    const index = (await response.json()) as { bundles: { name: string; domain: string; specDigest: string }[] };
    for (const bundle of index.bundles) {
      const { spec, text } = changed[bundle.name];
      bundle.domain = spec.domain;
      bundle.specDigest = createHash("sha256").update(text).digest("hex");
    }
    await route.fulfill({ response, json: index });
  });
}

export async function modelReady(page: Page): Promise<void> {
  await expect(page.getByTestId("model-badge")).toHaveAttribute("data-state", "ready");
}

/** Choose photographs in the file dialog. */
export async function choose(page: Page, ...names: string[]): Promise<void> {
  await page.getByTestId("file-input").first().setInputFiles(names.map(photoPath));
}

/** What the page has kept in a store of its database, photographs left out. A reload would end what is being written. */
export function stored(page: Page, store: string): Promise<Record<string, unknown>[]> {
  return page.evaluate(async (name) => {
    const settled = <Value>(request: IDBRequest<Value>): Promise<Value> =>
      new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const db = await settled(indexedDB.open("lentigo"));
    const records = await settled(db.transaction(name).objectStore(name).getAll());
    db.close();
    return JSON.parse(JSON.stringify(records)) as Record<string, unknown>[];
  }, store);
}

/** The probabilities shown, by class code. */
export async function shown(page: Page): Promise<Record<string, number>> {
  await expect(page.getByTestId("results")).toBeVisible();
  await expect(page.locator(".session-answer")).toHaveAttribute("aria-busy", "false");
  return page
    .getByTestId("bars")
    .locator("li")
    .evaluateAll((rows) =>
      Object.fromEntries(rows.map((row) => [row.dataset["code"], Number(row.dataset["probability"])])),
    );
}

/** Classify one photograph afresh. */
export async function classify(page: Page, name: string): Promise<Record<string, number>> {
  const again = page.getByTestId("start-over");
  if (await again.isVisible()) await again.click();
  await choose(page, name);
  return shown(page);
}

/** Save the answer that is shown, as a new case. */
export async function save(
  page: Page,
  title: string,
  details: { site?: string; note?: string; date?: string } = {},
): Promise<void> {
  await page.getByTestId("save").click();
  await page.getByTestId("case-title").fill(title);
  if (details.site) await page.getByTestId("site").selectOption(details.site);
  if (details.note) await page.getByTestId("case-note").fill(details.note);
  if (details.date) await page.getByTestId("case-date").fill(details.date);
  await page.getByTestId("save-case").click();
  await expect(page.getByTestId("visit").first()).toBeVisible();
}
