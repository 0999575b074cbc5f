import { writeFileSync } from "node:fs";
import path from "node:path";
import { zipSync } from "fflate";
import { BUNDLES, bytesOf, expected } from "../tests/fixtures";
import { classify, expect, modelReady, openApp, shown, test } from "./app";

const FILES = ["spec.json", "model.onnx", "MODEL_CARD.md", "golden.json"];

/** The bundle "alpha" under another name, as somebody else's would come. */
function otherBundle(change: (files: Record<string, Uint8Array>) => void = () => undefined): Uint8Array {
  const files: Record<string, Uint8Array> = Object.fromEntries(
    FILES.map((name) => [name, bytesOf(BUNDLES, "alpha", name)]),
  );
  const spec = JSON.parse(new TextDecoder().decode(files["spec.json"])) as Record<string, unknown>;
  files["spec.json"] = new TextEncoder().encode(
    JSON.stringify({ ...spec, name: "gamma", title: "Somebody's network" }),
  );
  change(files);
  return zipSync(Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`gamma/${name}`, bytes])));
}

test("another bundle is chosen: other classes, no heat map, and the photographs are classified again", async ({
  page,
  url,
}) => {
  await openApp(page, url);
  expect(Object.keys(await classify(page, "mel.jpg"))).toHaveLength(7);
  await page.getByRole("link", { name: "Models" }).click();
  await expect(page.getByTestId("card")).toContainText("Random weights");
  const beta = page.getByTestId("model").filter({ hasText: "beta" });
  await expect(beta).toContainText("Drawn images, 6 classes"); // what it is for, and what it tells apart
  await expect(beta).toContainText("says nothing about skin");
  await expect(beta).toContainText("Squamous cell carcinoma");
  await beta.getByRole("radio").check();
  await page.getByRole("link", { name: "Check" }).click();
  await modelReady(page);
  await expect
    .poll(async () => Object.keys(await shown(page)).sort())
    .toEqual(["ack", "bcc", "mel", "nev", "scc", "sek"]);
  await expect(page.getByTestId("heat")).toBeHidden();
  await expect(page.getByText("This model draws no heat maps.")).toBeVisible();
  await page.reload(); // remembered
  await modelReady(page);
  expect(Object.keys(await classify(page, "nv.jpg"))).toHaveLength(6);
});

test("the model that a server is started with comes before the last choice, until another is chosen", async ({
  page,
  url,
}) => {
  await openApp(page, url); // remembers "alpha"
  await page.route("**/bundles/index.json", async (route) => {
    const response = await route.fetch();
    const { bundles } = (await response.json()) as { bundles: { name: string; title: string }[] };
    const mine = { ...bundles.find(({ name }) => name === "beta")!, title: "My network", own: true };
    const rest = bundles.filter(({ name }) => name !== "beta");
    await route.fulfill({ response, json: { default: "beta", chosen: true, bundles: [mine, ...rest] } });
  });
  await page.reload();
  await modelReady(page);
  await expect(page.getByTestId("model-badge")).toContainText("My network");
  await page.getByRole("link", { name: "Models" }).click();
  await expect(page.getByTestId("model").first()).toContainText("From this server · beta");
  await page.getByTestId("model").nth(1).getByRole("radio").check();
  await page.getByRole("link", { name: "Check" }).click();
  await modelReady(page);
  await page.reload();
  await modelReady(page);
  await page.getByRole("link", { name: "Models" }).click();
  await expect(page.getByTestId("model").nth(1).getByRole("radio")).toBeChecked();
});

test("a model that cannot be fetched leaves the one in use", async ({ page, url }) => {
  await openApp(page, url);
  await page.getByRole("link", { name: "Models" }).click();
  await page.route("**/beta/model.onnx*", (route) => route.abort());
  const [alpha, beta] = [page.getByTestId("model").first(), page.getByTestId("model").nth(1)];
  await beta.getByRole("radio").click(); // not checked for long
  const notice = page.getByTestId("notice-error").filter({ hasText: "could not be fetched (model.onnx)" });
  await expect(notice).toContainText("Drawn images, 6 classes");
  await expect(alpha.getByRole("radio")).toBeChecked();
  await page.getByRole("link", { name: "Check" }).click();
  expect(Object.keys(await classify(page, "mel.jpg"))).toHaveLength(7);
  await page.unroute("**/beta/model.onnx*");
  await page.getByRole("link", { name: "Models" }).click();
  await beta.getByRole("radio").check();
  await expect(page.getByTestId("card").locator("dd").first()).toHaveText("6");
});

test("the golden vectors are reproduced in this browser", async ({ page, url }) => {
  await openApp(page, url);
  await page.getByRole("link", { name: "Models" }).click();
  for (const name of ["alpha", "beta"]) {
    await page.getByTestId("model").filter({ hasText: name }).getByRole("radio").check();
    await expect(page.getByTestId("self-check")).toBeEnabled();
    await page.getByTestId("self-check").click();
    await expect(page.getByTestId("self-check-result")).toHaveAttribute("data-passed", "true");
    await expect(page.getByTestId("self-check-result")).toContainText("All 2 test images agree: pixels within 0");
  }
});

test("a bundle is loaded from a file, kept, and removed", async ({ page, url }, info) => {
  const file = info.outputPath("gamma.zip");
  writeFileSync(file, otherBundle());
  await openApp(page, url);
  await page.getByRole("link", { name: "Models" }).click();
  await page.getByTestId("bundle-input").setInputFiles(file);
  await expect(page.getByTestId("notice-done")).toContainText("Somebody's network is ready");
  await page.reload();
  await page.getByRole("link", { name: "Check" }).click();
  await modelReady(page);
  await expect(page.getByTestId("model-badge")).toContainText("Somebody's network");
  expect((await classify(page, "mel.jpg"))["mel"]).toBeCloseTo(expected["mel.jpg"].probabilities[4], 3);
  await page.getByRole("link", { name: "Models" }).click();
  await page.getByRole("button", { name: "Remove Somebody's network" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click(); // asks first
  await expect(page.getByTestId("model")).toHaveCount(2);
  await expect(page.getByTestId("model").first().getByRole("radio")).toBeChecked();
});

test("loose files make a bundle too", async ({ page, url }) => {
  await openApp(page, url);
  await page.getByRole("link", { name: "Models" }).click();
  await page.getByTestId("bundle-input").setInputFiles(FILES.map((name) => path.join(BUNDLES, "beta", name)));
  await expect(page.getByTestId("model").filter({ hasText: "Loaded from a file" })).toBeVisible();
});

test("bad bundles are refused in words, and the model in use stays", async ({ page, url }, info) => {
  await openApp(page, url);
  await page.getByRole("link", { name: "Models" }).click();
  const file = info.outputPath("bad.zip");
  const refuse = async (content: Uint8Array, sentence: string): Promise<void> => {
    writeFileSync(file, content);
    await page.getByTestId("bundle-input").setInputFiles(file);
    const notice = page.getByTestId("notice-error").filter({ hasText: sentence });
    await expect(notice).toContainText("bad.zip");
    await notice.getByRole("button").click();
  };
  await refuse(
    otherBundle((files) => (files["model.onnx"] = files["model.onnx"].slice(0, -1))),
    "model.onnx is damaged",
  );
  await refuse(
    otherBundle((files) => delete files["golden.json"]),
    "golden.json is missing",
  );
  await refuse(
    otherBundle((files) => (files["spec.json"] = new TextEncoder().encode('{"format": 9}'))),
    "newer than this app reads",
  );
  await refuse(otherBundle().slice(0, 500), "zip file is damaged");
  await refuse(new TextEncoder().encode("hello"), "no bundle in here");
  await expect(page.getByTestId("model")).toHaveCount(2);
  await expect(page.getByTestId("model").first().getByRole("radio")).toBeChecked();
});
