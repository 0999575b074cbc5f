import { classify, expect, openApp, STATIC, test } from "./app";
import { readFileSync } from "node:fs";
import path from "node:path";

test("the start asks for every file once, for the worker before the page's own script has run", async ({
  page,
  context,
  url,
}) => {
  const asked: string[] = [];
  context.on("request", (request) => asked.push(new URL(request.url()).pathname.slice(1)));
  const unused: string[] = [];
  page.on("console", (message) => {
    if (message.text().includes("preload")) unused.push(message.text()); // so browsers tell of preloads that do not fit
  });
  await page.addInitScript(() => {
    const events: string[] = [];
    Object.assign(globalThis, { events });
    globalThis.Worker = new Proxy(Worker, {
      construct(target, [address, options]: [URL, WorkerOptions]) {
        events.push(document.getElementById("app")?.hasChildNodes() ? "worker after the page" : "worker first");
        return new target(address, options);
      },
    });
  });
  await openApp(page, url);
  expect(await page.evaluate(() => Reflect.get(globalThis, "events") as unknown)).toEqual(["worker first"]);

  const html = readFileSync(path.join(STATIC, "index.html"), "utf8");
  const preloaded = [...html.matchAll(/<link rel="(?:module)?preload"[^>]* href="\.\/([^"]+)"/g)].map(
    ([, name]) => name,
  );
  expect(preloaded).toContain("bundles/index.json");
  expect(preloaded.filter((name) => /^assets\/main-.*\.js$/.test(name))).toHaveLength(1);
  for (const name of preloaded) expect(asked).toContain(name);

  const needed = ["index.json", "spec.json", "model.onnx", "MODEL_CARD.md", ".wasm", "worker-"];
  for (const name of needed) {
    expect(
      asked.filter((address) => address.includes(name)),
      name,
    ).toHaveLength(1);
  }
  expect(asked.length).toBe(new Set(asked).size);
  expect(unused).toEqual([]);
  expect(Object.keys(await classify(page, "mel.jpg"))).toHaveLength(7);
});

test("the weights are asked for without waiting for the specification", async ({ page, url }) => {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  await page.route("**/spec.json*", async (route) => {
    await held;
    await route.continue();
  });
  const weights = page.waitForRequest("**/model.onnx*");
  const opened = openApp(page, url);
  await weights;
  release();
  await opened;
});

test("the graph is made ready for photographs once the page shows that the model is there", async ({ page, url }) => {
  await page.addInitScript(() => {
    const calls: string[] = [];
    Object.assign(globalThis, { calls });
    const post = Reflect.get(Worker.prototype, "postMessage") as (...given: unknown[]) => void;
    Worker.prototype.postMessage = function (this: Worker, ...given: unknown[]) {
      const badge = document.querySelector<HTMLElement>("[data-testid=model-badge]");
      calls.push(`${(given[0] as { name: string }).name} ${badge?.dataset["state"]}`);
      post.apply(this, given);
    };
  });
  await openApp(page, url);
  const calls = (): Promise<string[]> => page.evaluate(() => Reflect.get(globalThis, "calls") as string[]);
  await expect.poll(calls).toContain("warmUp ready");
  const opened = (await calls()).filter((call) => call.startsWith("open"));
  expect(opened).toHaveLength(1);
  expect(opened).not.toEqual(["open ready"]);
});
