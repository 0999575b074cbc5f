import { createHash } from "node:crypto";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { decode } from "fast-png";
import { zipSync } from "fflate";
import { PbfWriter } from "pbf";
import { chromium, type Page } from "@playwright/test";
import { launchOptions } from "../build/chromium.mjs";
import { serve } from "../build/serve.mjs";
import { BUNDLES, bytesOf, textOf } from "../tests/fixtures";
import { choose, classify, expect, modelReady, openApp, photoPath, STATIC, test } from "./app";

test.use({ serviceWorkers: "allow" });

/** Until the service worker holds everything and answers for the page. */
async function installed(page: Page): Promise<void> {
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    if (navigator.serviceWorker.controller === null) {
      await new Promise((resolve) =>
        navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }),
      );
    }
  });
}

test("opens and classifies with the network cut and the server gone", async () => {
  const { server, url } = await serve(STATIC);
  const browser = await chromium.launch(launchOptions());
  const context = await browser.newContext({ locale: "en-GB" });
  const page = await context.newPage();
  await openApp(page, url);
  await installed(page);
  await context.setOffline(true);
  server.closeAllConnections();
  server.close();
  await page.reload();
  await modelReady(page);
  expect(Object.keys(await classify(page, "mel.jpg"))).toHaveLength(7);
  await page.goto(`${url}#/notebook`);
  await expect(page.getByTestId("no-cases")).toBeVisible();
  await browser.close();
});

/** The bundle "alpha" with an operator that the usual runtime does not know, and another name. */
function bundleOfOtherOperators(): Uint8Array {
  const node = new PbfWriter(); // messages one after the other are one message: this node is one more of the graph
  const write = (): void => {
    for (const [tag, text] of [
      [1, "logits"],
      [2, "unused"],
      [4, "Softmax"],
    ] as const)
      node.writeStringField(tag, text);
  };
  node.writeMessage(7, () => node.writeMessage(1, write, null), null);
  const files: Record<string, Uint8Array> = Object.fromEntries(
    ["MODEL_CARD.md", "golden.json"].map((name) => [name, bytesOf(BUNDLES, "alpha", name)]),
  );
  files["model.onnx"] = Buffer.concat([bytesOf(BUNDLES, "alpha", "model.onnx"), node.finish()]);
  const spec = JSON.parse(textOf(BUNDLES, "alpha", "spec.json")) as { files: Record<string, string> };
  spec.files["model.onnx"] = createHash("sha256").update(files["model.onnx"]).digest("hex");
  files["spec.json"] = Buffer.from(JSON.stringify({ ...spec, name: "gamma", title: "Other operators" }));
  return zipSync(files);
}

test("a model of other operators brings its runtime along, and keeps it for use without a network", async ({}, info) => {
  const file = info.outputPath("gamma.zip");
  writeFileSync(file, bundleOfOtherOperators());
  const { server, url } = await serve(STATIC);
  const browser = await chromium.launch(launchOptions());
  const context = await browser.newContext({ locale: "en-GB" });
  const page = await context.newPage();
  const asked: string[] = [];
  context.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await openApp(page, url);
  await installed(page);
  const answer = await classify(page, "mel.jpg");
  expect(asked.filter((name) => name.includes("ort-wasm"))).toEqual([]);
  await page.getByRole("link", { name: "Models" }).click();
  await page.getByTestId("bundle-input").setInputFiles(file);
  await expect(page.getByTestId("notice-done")).toContainText("Other operators is ready");
  await page.getByRole("link", { name: "Check" }).click();
  const agrees = async (): Promise<void> => {
    const other = await classify(page, "mel.jpg");
    for (const [code, value] of Object.entries(answer)) expect(Math.abs(other[code] - value)).toBeLessThan(1e-3);
  };
  await agrees();
  expect(asked.filter((name) => name.includes("ort-wasm"))).not.toEqual([]);
  await context.setOffline(true);
  server.closeAllConnections();
  server.close();
  await page.reload();
  await modelReady(page);
  await expect(page.getByTestId("model-badge")).toContainText("Other operators");
  await agrees();
  await browser.close();
});

test("a new version is offered, and taken when the person says so", async ({}, info) => {
  const folder = info.outputPath("static");
  cpSync(STATIC, folder, { recursive: true });
  const { server, url } = await serve(folder);
  const browser = await chromium.launch(launchOptions());
  const page = await browser.newPage({ locale: "en-GB" });
  await openApp(page, url);
  await installed(page);
  await expect(page.getByTestId("update")).toBeHidden();
  // The next version: another page, and therefore another service worker.
  for (const name of ["index.html.br", "index.html.gz", "sw.js.br", "sw.js.gz"]) rmSync(path.join(folder, name));
  const update = () => page.evaluate(async () => void (await (await navigator.serviceWorker.ready).update()));
  const rewrite = (name: string, from: RegExp | string, to: string): void => {
    const file = path.join(folder, name);
    const text = readFileSync(file, "utf8");
    expect(text).toMatch(from);
    writeFileSync(file, text.replace(from, to));
  };
  rewrite("index.html", '<meta name="referrer"', '<meta name="generation" content="next" /><meta name="referrer"');
  // With other models alone it is taken in silence.
  rewrite("sw.js", /"version":"\w+"/, '"version":"served"');
  await update();
  await expect.poll(() => page.evaluate(() => caches.keys())).toEqual(["lentigo-served"]);
  await expect(page.getByTestId("update")).toBeHidden();
  rewrite("sw.js", /"app":"\w+","version":"\w+"/, '"app":"next","version":"next"');
  await update();
  await expect(page.getByTestId("update")).toContainText("A new version of lentigo is ready");
  const generation = page.locator("meta[name=generation]");
  await expect(generation).toHaveCount(0);
  await choose(page, "mel.jpg");
  await page.getByRole("button", { name: "Update", exact: true }).click();
  await expect(generation).toHaveAttribute("content", "next");
  await modelReady(page);
  await expect(page.getByTestId("results")).toBeVisible(); // the photograph is still there
  await expect.poll(() => page.evaluate(() => caches.keys())).toEqual(["lentigo-next"]);
  await browser.close();
  server.closeAllConnections();
  server.close();
});

test("photographs that another app shares come into the check", async () => {
  const { server, url } = await serve(STATIC);
  const browser = await chromium.launch(launchOptions());
  const page = await browser.newPage({ locale: "en-GB" });
  await openApp(page, url);
  await installed(page);
  const base64 = readFileSync(photoPath("mel.jpg")).toString("base64");
  await page.evaluate(async (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const form = new FormData();
    form.append("photos", new File([bytes], "shared mole.jpg", { type: "image/jpeg" }));
    await fetch("share", { method: "POST", body: form, redirect: "manual" });
  }, base64);
  await page.reload(); // as the redirect does
  await modelReady(page);
  await expect(page.getByTestId("results")).toBeVisible();
  await expect(page.getByRole("img", { name: "shared mole.jpg" })).toBeVisible();
  await browser.close();
  server.closeAllConnections();
  server.close();
});

test("can be installed: manifest, icons and a start page", async ({ page, url, request }) => {
  await page.goto(url);
  const manifest = (await (await request.get(`${url}manifest.webmanifest`)).json()) as {
    name: string;
    display: string;
    icons: { src: string; sizes: string; type: string }[];
    shortcuts: { url: string }[];
    share_target: { action: string };
    screenshots: { src: string; sizes: string; form_factor: string }[];
  };
  expect(manifest.shortcuts.map((shortcut) => shortcut.url)).toEqual(["./#/check", "./#/notebook"]);
  expect(manifest.share_target.action).toBe("./share");
  // iOS cuts the corners of an icon itself: this one fills its square.
  const touch = decode(await (await request.get(`${url}apple-touch-icon.png`)).body());
  const corner = [...touch.data.slice(0, touch.channels)];
  expect([touch.width, corner[3] ?? 255]).toEqual([180, 255]);
  expect(manifest.display).toBe("standalone");
  for (const { src, sizes, type } of manifest.icons) {
    const response = await request.get(url + src);
    expect(response.headers()["content-type"]).toBe(type);
    if (type === "image/png") {
      const png = await response.body();
      expect(`${png.readUInt32BE(16)}x${png.readUInt32BE(20)}`).toBe(sizes);
    }
  }
  expect(manifest.screenshots.map((shot) => shot.form_factor)).toEqual(["wide", "narrow"]);
  const sizes = await page.evaluate(
    (names) =>
      Promise.all(
        names.map(async (name) => {
          const { width, height } = await createImageBitmap(await (await fetch(name)).blob());
          return `${width}x${height}`;
        }),
      ),
    manifest.screenshots.map(({ src }) => src),
  );
  expect(sizes).toEqual(manifest.screenshots.map((shot) => shot.sizes));
  const devtools = await page.context().newCDPSession(page);
  const { errors } = await devtools.send("Page.getAppManifest");
  expect(errors).toEqual([]);
});
