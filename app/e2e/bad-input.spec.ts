import { choose, classify, expect, modelReady, openApp, test } from "./app";

const SENTENCES = {
  "text.jpg": "This is not an image, whatever its name says.",
  "empty.jpg": "The file is empty.",
  "truncated.jpg": "damaged or incomplete",
  "huge.png": "10000 × 10000 pixels (100 megapixels); the limit is 100 megapixels",
  "photo.heic": "This browser cannot decode HEIC photographs. Save it as JPEG first",
};

test("a file that cannot be classified is told in a sentence, and the app goes on", async ({ page, url }) => {
  await openApp(page, url);
  for (const [name, sentence] of Object.entries(SENTENCES)) {
    await choose(page, name);
    const notice = page.getByTestId("notice-error").filter({ hasText: sentence });
    await expect(notice).toContainText(name);
    await notice.getByRole("button").click();
    await expect(notice).toBeHidden();
  }
  expect(Object.keys(await classify(page, "mel.jpg"))).toHaveLength(7);
});

test("one bad file among good ones is left out", async ({ page, url }) => {
  await openApp(page, url);
  await choose(page, "mel.jpg", "text.jpg", "nv.jpg");
  await expect(page.getByTestId("averaged")).toHaveText("Mean of 2 photographs.");
  await expect(page.getByTestId("notice-error")).toContainText("text.jpg");
});

test("more photographs than one lesion can have", async ({ page, url }) => {
  await openApp(page, url);
  await choose(page, ...Array<string>(13).fill("orientation-2.png"));
  await expect(page.getByTestId("notice-error")).toContainText("At most 12 photographs");
  await expect(page.getByTestId("averaged")).toHaveText("Mean of 12 photographs.");
});

test("blocked WebAssembly is told, and allowed again it works", async ({ page, url }) => {
  await page.route("**/*", async (route) => {
    const response = await route.fetch();
    const headers = {
      ...response.headers(),
      "content-security-policy": "default-src 'self'; img-src 'self' blob: data:",
    };
    await route.fulfill({ response, headers });
  });
  await page.addInitScript(() => localStorage.setItem("lentigo.notice", "read"));
  await page.goto(url);
  const problem = page.getByTestId("model-problem");
  await expect(problem).toContainText("WebAssembly, which the model needs, is blocked here");
  await page.getByRole("link", { name: "Notebook" }).click();
  await expect(page.getByTestId("no-cases")).toBeVisible(); // the rest of the app works
  await page.getByRole("link", { name: "Check" }).click();
  await page.unrouteAll({ behavior: "wait" });
  await problem.getByRole("button", { name: "Try again" }).click();
  await modelReady(page);
});

test("a browser without WebAssembly is told", async ({ page, url }) => {
  // The worker is where it is missed: take it away there.
  await page.route("**/assets/worker-*.js", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `delete globalThis.WebAssembly;\n${await response.text()}` });
  });
  await page.addInitScript(() => localStorage.setItem("lentigo.notice", "read"));
  await page.goto(url);
  await expect(page.getByTestId("model-problem")).toContainText("This browser has no WebAssembly");
});

test("a browser that changes canvas pixels is told", async ({ page, url }) => {
  await page.route("**/assets/worker-*.js", async (route) => {
    const response = await route.fetch();
    const noise = `const real = OffscreenCanvasRenderingContext2D.prototype.getImageData;
      OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...where) {
        const image = real.apply(this, where);
        for (let i = 0; i < image.data.length; i++) image.data[i] ^= 64;
        return image;
      };\n`;
    await route.fulfill({ response, body: noise + (await response.text()) });
  });
  await page.addInitScript(() => localStorage.setItem("lentigo.notice", "read"));
  await page.goto(url);
  await expect(page.getByTestId("model-problem")).toContainText("protection against fingerprinting");
});

test("a runtime that cannot be fetched is told, and fetched when the connection is back", async ({ page, url }) => {
  await page.route("**/tfjs-backend-wasm*", (route) => route.abort());
  await page.addInitScript(() => localStorage.setItem("lentigo.notice", "read"));
  await page.goto(url);
  const problem = page.getByTestId("model-problem");
  await expect(problem).toContainText(/The program that runs the model could not be fetched \(tfjs-backend-wasm/);
  await page.unroute("**/tfjs-backend-wasm*");
  await problem.getByRole("button", { name: "Try again" }).click();
  await modelReady(page);
});

test("a model that cannot be fetched is told, and fetched when the connection is back", async ({ page, url }) => {
  await page.route("**/model.onnx*", (route) => route.abort());
  await page.addInitScript(() => localStorage.setItem("lentigo.notice", "read"));
  await page.goto(url);
  const problem = page.getByTestId("model-problem");
  await expect(problem).toContainText("could not be fetched (model.onnx)");
  await choose(page, "mel.jpg"); // waits for the model
  await page.unroute("**/model.onnx*");
  await problem.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByTestId("verdict")).toHaveAttribute("data-kind", "above");
});

test("a packaged model that arrives damaged is refused", async ({ page, url }) => {
  await page.route("**/model.onnx*", async (route) => {
    const response = await route.fetch();
    const body = await response.body();
    body[200] ^= 1;
    await route.fulfill({ response, body });
  });
  await page.addInitScript(() => localStorage.setItem("lentigo.notice", "read"));
  await page.goto(url);
  await expect(page.getByTestId("model-problem")).toContainText("model.onnx is damaged");
});
