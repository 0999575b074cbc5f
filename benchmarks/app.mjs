/**
 * What the phone app costs: first load, start on a slow machine, layout shift, time of a classification, a large notebook.
 *
 * Build the app first (make app), then: node benchmarks/app.mjs [--static FOLDER] [--out FILE] [--write] [--starts N]
 * [--only notebook]
 * --write puts a table into benchmarks/README.md.
 *
 * The slow machine is a real one: every process that runs the page (its worker and WebAssembly included) is stopped
 * three quarters of the time. Chromium's own throttling would slow down the page's main thread alone.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { launchOptions } from "../app/build/chromium.mjs";
import { serve } from "../app/build/serve.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { chromium } = createRequire(path.join(root, "app/package.json"))("@playwright/test");
const { values } = parseArgs({
  options: {
    static: {
      type: "string",
      default: path.join(root, "lentigo/serving/static"),
    },
    out: { type: "string" },
    write: { type: "boolean", default: false },
    starts: { type: "string", default: "15" },
    only: { type: "string" }, // "notebook": that alone
  },
});

const SLOWDOWN = 4;
const CLASSIFICATIONS = 60;
const WARM_UP = 5;
const STARTS = Number(values.starts);

const median = (numbers) => percentile(numbers, 0.5);
const percentile = (numbers, fraction) => [...numbers].sort((a, b) => a - b)[Math.floor(fraction * (numbers.length - 1))];
const rounded = (value, digits = 0) => Number(value.toFixed(digits));

/** Stop the processes that run pages for a fraction of the time; returns what ends that. */
async function slowDown(browser, factor) {
  if (factor === 1) return () => undefined;
  const devtools = await browser.newBrowserCDPSession();
  const period = 24; // milliseconds
  let processes = new Set();
  const look = async () => {
    const { processInfo } = await devtools.send("SystemInfo.getProcessInfo").catch(() => ({ processInfo: [] }));
    processes = new Set(processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id));
  };
  const signal = (name) => {
    for (const id of processes) {
      try {
        process.kill(id, name);
      } catch {
        processes.delete(id); // ended
      }
    }
  };
  await look();
  const looking = setInterval(look, 50);
  const stopping = setInterval(() => {
    signal("SIGSTOP");
    setTimeout(() => signal("SIGCONT"), period * (1 - 1 / factor));
  }, period);
  return () => {
    clearInterval(looking);
    clearInterval(stopping);
    signal("SIGCONT");
  };
}

/** Open the app in a fresh browser with empty caches. */
async function start(url, factor) {
  const browser = await chromium.launch(launchOptions());
  const page = await browser.newPage({
    viewport: { width: 360, height: 640 },
    deviceScaleFactor: 2,
    locale: "en-GB",
  });
  await page.addInitScript(() => {
    localStorage.setItem("lentigo.notice", "read");
    localStorage.setItem("lentigo.capture", "dermatoscope");
    globalThis.seen = { shift: 0, blocked: 0, paint: 0, usable: 0 };
    // Stamped in the page, once the frame that shows it has been drawn: Playwright itself looks only every half second.
    new MutationObserver((_, observer) => {
      if (!document.querySelector("[data-testid=model-badge][data-state=ready]")) return;
      observer.disconnect();
      requestAnimationFrame(() =>
        setTimeout(() => (globalThis.seen.usable = performance.timeOrigin + performance.now())),
      );
    }).observe(document, { childList: true, subtree: true, attributes: true });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.seen.shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) globalThis.seen.blocked += Math.max(0, entry.duration - 50);
    }).observe({ type: "longtask", buffered: true });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) globalThis.seen.paint = entry.startTime;
    }).observe({ type: "largest-contentful-paint", buffered: true });
  });
  const release = await slowDown(browser, factor);
  const began = performance.now();
  await page.goto(url, { waitUntil: "commit" });
  await page.getByRole("button", { name: "Choose photographs" }).waitFor();
  const page_ms = performance.now() - began;
  await page.locator("[data-testid=model-badge][data-state=ready]").waitFor();
  await page.evaluate(async () => {
    while (globalThis.seen.usable === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  });
  release();
  const seen = await page.evaluate(() => ({
    ...globalThis.seen,
    first: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
  }));
  const usable = seen.usable - (performance.timeOrigin + began);
  // Processor time of the page, its worker and WebAssembly: what a start costs, also on a machine with other work.
  const devtools = await browser.newBrowserCDPSession();
  const { processInfo } = await devtools.send("SystemInfo.getProcessInfo");
  const renderers = processInfo.filter(({ type }) => type === "renderer");
  const processor = renderers.reduce((sum, { cpuTime }) => sum + 1000 * cpuTime, 0);
  return { browser, page, figures: { page: page_ms, usable, processor, seen } };
}

async function measureStart(url, factor) {
  const runs = [];
  for (let i = 0; i < STARTS; i++) {
    const { browser, figures } = await start(url, factor);
    runs.push(figures);
    await browser.close();
  }
  return {
    slowdown: factor,
    first_contentful_paint_ms: rounded(median(runs.map((run) => run.seen.first))),
    largest_contentful_paint_ms: rounded(median(runs.map((run) => run.seen.paint))),
    page_ready_ms: rounded(median(runs.map((run) => run.page))),
    usable_ms: rounded(median(runs.map((run) => run.usable))),
    processor_ms: rounded(median(runs.map((run) => run.processor))),
    total_blocking_ms: rounded(median(runs.map((run) => run.seen.blocked))),
    layout_shift: rounded(Math.max(...runs.map((run) => run.seen.shift)), 4),
  };
}

/** A seeded picture of a size, as JPEG, made in the page. */
function picture(page, width, height) {
  return page.evaluate(
    async ([w, h]) => {
      const canvas = new OffscreenCanvas(w, h);
      const context = canvas.getContext("2d");
      const skin = context.createRadialGradient(w / 2, h / 2, h / 8, w / 2, h / 2, h / 2);
      skin.addColorStop(0, "#5a3423");
      skin.addColorStop(1, "#d9a58a");
      context.fillStyle = skin;
      context.fillRect(0, 0, w, h);
      let seed = 1;
      for (let i = 0; i < 3000; i++) {
        seed = (seed * 1103515245 + 12345) % 2 ** 31;
        context.fillStyle = `rgb(${seed % 200} ${(seed >> 8) % 120} 60 / 30%)`;
        context.fillRect(((seed >> 4) % 1000) * (w / 1000), ((seed >> 12) % 1000) * (h / 1000), w / 80, h / 120);
      }
      const blob = await canvas.convertToBlob({
        type: "image/jpeg",
        quality: 0.9,
      });
      globalThis.photo = new File([blob], `${w}x${h}.jpg`, {
        type: "image/jpeg",
      });
      return blob.size;
    },
    [width, height],
  );
}

/** Choose the picture and wait for the answer on the page: once, in milliseconds, with the worker's own figure. */
function classifyOnce(page) {
  return page.evaluate(async () => {
    document.querySelector("[data-testid=start-over]")?.click();
    while (document.querySelector("[data-testid=results]"))
      await new Promise((resolve) => requestAnimationFrame(resolve));
    const input = document.querySelector("[data-testid=file-input]");
    const data = new DataTransfer();
    data.items.add(globalThis.photo);
    input.files = data.files;
    const began = performance.now();
    const shown = new Promise((resolve) => {
      new MutationObserver((_, observer) => {
        if (!document.querySelector("[data-testid=results]")) return;
        observer.disconnect();
        resolve(performance.now() - began);
      }).observe(document.getElementById("app"), {
        childList: true,
        subtree: true,
      });
    });
    input.dispatchEvent(new Event("change", { bubbles: true }));
    const total = await shown;
    const words = document.querySelector("[data-testid=model-badge]").textContent;
    return { total, worker: Number(/(\d+) ms/.exec(words)[1]) };
  });
}

async function measureClassification(page, width, height, runs) {
  const bytes = await picture(page, width, height);
  const totals = [];
  const workers = [];
  for (let i = 0; i < runs + WARM_UP; i++) {
    const { total, worker } = await classifyOnce(page);
    if (i < WARM_UP) continue;
    totals.push(total);
    workers.push(worker);
  }
  return {
    image: `${width}x${height} JPEG, ${rounded(bytes / 1000)} kB`,
    runs,
    file_to_answer_ms: {
      p50: rounded(median(totals), 1),
      p95: rounded(percentile(totals, 0.95), 1),
    },
    in_worker_ms: { p50: median(workers), p95: percentile(workers, 0.95) },
  };
}

const LESIONS = 1000;
const VISITS = 5000;

/** Fill the device's database with lesions, each visit with a photograph and heat maps. */
function fillNotebook(page) {
  return page.evaluate(
    async ([lesions, visits]) => {
      const db = await new Promise((resolve, reject) => {
        const request = indexedDB.open("lentigo");
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
      const canvas = new OffscreenCanvas(640, 480);
      const pixels = canvas.getContext("2d").createImageData(640, 480);
      for (let i = 0; i < pixels.data.length; i++) pixels.data[i] = (i * 2654435761) >>> 24; // about 200 kB as JPEG
      canvas.getContext("2d").putImageData(pixels, 0, 0);
      const image = await canvas.convertToBlob({
        type: "image/jpeg",
        quality: 0.9,
      });
      const classes = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"].map((code, i) => ({
        code,
        en: code,
        zh: code,
        malignant: i < 2,
      }));
      const probabilities = classes.map((_, i) => (i === 5 ? 0.7 : 0.05));
      const values = Array.from({ length: 7 * 49 }, (_, i) => i / 343);
      const head = (i) => ({
        id: `lesion-${i}`,
        title: `Lesion ${i}`,
        note: "",
        created: "2024-01-01T00:00:00.000Z",
      });
      const clinical = { patientId: "patient-1", diagnosis: "", histology: "", reminder: null };
      const created = "2024-01-01T00:00:00.000Z";
      const patient = { id: "patient-1", code: "P-1", birthYear: null, skinType: null, note: "" };
      for (let from = 0; from < visits; from += 250) {
        const transaction = db.transaction(["cases", "visits", "patients"], "readwrite");
        if (from === 0) transaction.objectStore("patients").put({ ...patient, created, updated: created });
        for (let n = from; n < from + 250; n++) {
          const i = n % lesions;
          const date = `2024-${String(1 + Math.floor(n / lesions)).padStart(2, "0")}-15`;
          const site = {
            region: "left.forearm",
            view: "front",
            x: 0.7,
            y: 0.4,
          };
          if (n < lesions)
            transaction.objectStore("cases").put({ ...head(i), site, clinical, updated: `${date}T10:00:00.000Z` });
          transaction.objectStore("visits").put({
            id: `visit-${n}`,
            caseId: `lesion-${i}`,
            date,
            note: `visit ${n}`,
            photos: [
              {
                image,
                width: 640,
                height: 480,
                probabilities,
                reasons: [],
                cam: { shape: [7, 7, 7], values },
              },
            ],
            classes,
            probabilities,
            malignant: 0.1,
            operatingPoint: { name: "sensitivity-90", threshold: 0.2 },
            abstained: false,
            model: {
              name: "m",
              version: "1",
              title: "Model",
              digest: "0".repeat(64),
            },
            created: `${date}T10:00:00.000Z`,
          });
        }
        await new Promise((resolve, reject) => {
          transaction.oncomplete = resolve;
          transaction.onerror = () => reject(transaction.error);
        });
      }
      db.close();
      return image.size;
    },
    [LESIONS, VISITS],
  );
}

/**
 * From the touch on "Notebook" to the drawn list, from a typed word to the drawn matches, and from the touch on the
 * patient to the drawn body with all lesions, in milliseconds.
 */
function listOnce(page) {
  return page.evaluate(async (lesions) => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    const until = async (found) => {
      while (!found()) await new Promise((resolve) => setTimeout(resolve, 1));
      await frame();
    };
    const cases = () => document.querySelectorAll("[data-testid=case]");
    location.hash = "#/check";
    await until(() => cases().length === 0);
    let began = performance.now();
    location.hash = "#/notebook";
    await until(() => cases().length > 0);
    const list = performance.now() - began;
    const search = document.querySelector("[data-testid=search]");
    search.value = "visit 4321";
    began = performance.now();
    search.dispatchEvent(new Event("input", { bubbles: true }));
    await until(() => cases().length === 1);
    const found = performance.now() - began;
    search.value = ""; // the next list is whole again
    search.dispatchEvent(new Event("input", { bubbles: true }));
    await until(() => cases().length > 1);
    began = performance.now();
    location.hash = "#/patients/patient-1";
    await until(() => document.querySelectorAll("[data-testid=body-lesion]").length >= lesions);
    return { list, search: found, map: performance.now() - began };
  }, LESIONS);
}

async function measureNotebook(page) {
  const bytes = await fillNotebook(page);
  const first = await listOnce(page); // reads every visit once, as after an update from a version without the index
  const runs = [];
  for (let i = 0; i < 15; i++) runs.push(await listOnce(page));
  return {
    lesions: LESIONS,
    visits: VISITS,
    photograph_kb: rounded(bytes / 1000),
    first_list_ms: rounded(first.list),
    list_ms: {
      p50: rounded(median(runs.map(({ list }) => list))),
      p95: rounded(
        percentile(
          runs.map(({ list }) => list),
          0.95,
        ),
      ),
    },
    search_ms: { p50: rounded(median(runs.map(({ search }) => search))) },
    map_ms: { p50: rounded(median(runs.map(({ map }) => map))) },
  };
}

function modelOf({ bundles, default: name }) {
  const { version, weights, bytes } = bundles.find((bundle) => bundle.name === name);
  return { name, version, weights, megabytes: rounded(bytes / 1e6, 2) };
}

/** The figures as a table, with what the app is meant to reach. */
function table({ machine, chromium, model, first_load, classification, notebook, start: [plain, slow] }) {
  const [small, large] = classification;
  const both = ({ file_to_answer_ms: file, in_worker_ms: worker }) =>
    `${file.p50} (p95 ${file.p95}); in the worker ${worker.p50}`;
  const rows = [
    ["first load, compressed, model included, MB", first_load.transferred_mb, "under 6"],
    ["first contentful paint, ms", plain.first_contentful_paint_ms, ""],
    ["usable (model loaded), ms", plain.usable_ms, ""],
    ["processor time until then, ms", plain.processor_ms, ""],
    [`usable on a machine slowed ${slow.slowdown} times, ms`, slow.usable_ms, "under 2500"],
    [`first contentful paint there, ms`, slow.first_contentful_paint_ms, ""],
    ["main thread blocked while starting, there, ms", slow.total_blocking_ms, ""],
    ["layout shift (CLS), the larger of both", Math.max(plain.layout_shift, slow.layout_shift), "0"],
    [`file to answer, ${small.image}, p50 ms`, both(small), "under 40"],
    [`file to answer, ${large.image}, p50 ms`, both(large), ""],
    [
      `notebook of ${notebook.lesions} lesions and ${notebook.visits} visits: list, p50 ms`,
      notebook.list_ms.p50,
      "under 300",
    ],
    ["search there, p50 ms", notebook.search_ms.p50, "under 300"],
    [`body map of a patient with all ${notebook.lesions} lesions, p50 ms`, notebook.map_ms.p50, "under 300"],
    ["first list there, which makes the index, ms", notebook.first_list_ms, ""],
  ];
  return [
    "## Phone app",
    "",
    `${model.name} (${model.weights}, ${model.megabytes} MB with its test images), headless Chromium ${chromium}, ${machine}.`,
    "Command: `node benchmarks/app.mjs --write`. Starts: the median of " + STARTS + ", each with empty caches.",
    "",
    "| | measured | aim |",
    "|---|---|---|",
    ...rows.map((cells) => `| ${cells.join(" | ")} |`),
  ].join("\n");
}

function writeTable(text) {
  const file = path.join(root, "benchmarks/README.md");
  const [begin, end] = ["<!-- app:begin -->", "<!-- app:end -->"];
  const old = readFileSync(file, "utf8");
  const block = `${begin}\n${text}\n${end}`;
  const known = old.includes(begin) && old.includes(end);
  const head = known ? old.slice(0, old.indexOf(begin)) : `${old.trimEnd()}\n\n`;
  const rest = known ? old.slice(old.indexOf(end) + end.length) : "\n";
  writeFileSync(file, head + block + rest);
}

const { server, url, sent } = await serve(path.resolve(values.static));
const index = JSON.parse(readFileSync(path.join(values.static, "bundles/index.json"), "utf8"));
if (index.default === null)
  throw new Error("no bundle is packaged: put one into lentigo/bundles and build the app again");

const { browser, page } = await start(url, 1);
await page.evaluate(() => navigator.serviceWorker.ready); // has fetched what makes the app work offline
const transferred = sent();
if (values.only === "notebook") {
  console.log(JSON.stringify(await measureNotebook(page), null, 2));
  await browser.close();
  server.close();
  process.exit();
}
const version = browser.version();
const result = {
  machine: `${os.cpus()[0].model.trim()}, ${os.cpus().length} cores, load ${os.loadavg()[0].toFixed(1)}`,
  chromium: version,
  model: modelOf(index),
  first_load: { transferred_mb: rounded(transferred / 1e6, 2) },
  classification: [
    await measureClassification(page, 600, 450, CLASSIFICATIONS),
    await measureClassification(page, 4000, 3000, 10),
  ],
  notebook: await measureNotebook(page),
};
await browser.close();
result.start = [await measureStart(url, 1), await measureStart(url, SLOWDOWN)];
server.close();

if (values.out) writeFileSync(values.out, `${JSON.stringify(result, null, 2)}\n`);
if (values.write) writeTable(table(result));
console.log(values.write ? table(result) : JSON.stringify(result, null, 2));
