/** The check under way, with a worker that the test answers for. */

import "fake-indexeddb/auto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { NO_EDIT } from "../src/core/geometry";
import { parseSpec } from "../src/core/spec";
import { BUNDLES, textOf } from "./fixtures";

const call = vi.hoisted(() => vi.fn());
vi.mock("../src/state/engine", () => ({ engine: { call, stop: () => undefined } }));

const spec = parseSpec(textOf(BUNDLES, "alpha", "spec.json"));
const entry = {
  ...{ id: "packaged:alpha", origin: "packaged" as const, name: "alpha", title: "Alpha", version: "1" },
  ...{ domain: "dermoscopy" as const, weights: "fp32", classes: spec.classes, bytes: 1, digest: "0" },
};
const NEVUS = [0.01, 0.01, 0.02, 0.02, 0.02, 0.9, 0.02];
const VASCULAR = [0.01, 0.01, 0.02, 0.02, 0.02, 0.02, 0.9];
const file = (name: string) => ({ name, blob: new Blob([name]) });

function analysis(probabilities: number[]) {
  return {
    ...{ probabilities, logits: [], embedding: [], cam: null, reasons: [], hints: [], size: { width: 1, height: 1 } },
    picture: { close: vi.fn() } as unknown as ImageBitmap,
    timing: { decode: 0, resize: 0, infer: 0, total: 0 },
  };
}

/** The app as it starts, with a model for dermatoscopes ready. */
async function start() {
  const [models, session, draft, notices, errors] = await Promise.all([
    import("../src/state/models"),
    import("../src/state/session"),
    import("../src/state/draft"),
    import("../src/state/notices"),
    import("../src/core/errors"),
  ]);
  const ready = { kind: "ready" as const, entry, spec: { ...spec, domain: "dermoscopy" as const }, card: "" };
  models.model.value = ready;
  return { ...models, ...session, ...draft, ...notices, ...errors, ready };
}

beforeEach(() => {
  vi.resetModules();
  call.mockReset().mockImplementation(async () => analysis(NEVUS));
});
afterEach(() => vi.unstubAllGlobals());

test("nothing is classified before the person has said how the photographs are taken", async () => {
  const app = await start();
  await app.addPhotos([file("phone.jpg")]);
  await app.classifyWaiting();
  expect(app.captureUnknown.value).toBe(true);
  expect(call).not.toHaveBeenCalled();
  app.capture.value = "dermatoscope";
  await app.classifyWaiting();
  expect(call).toHaveBeenCalledOnce();
  expect(app.answer.value!.verdict.kind).toBe("below");
});

test("photographs of different lesions are not averaged without a word", async () => {
  const app = await start();
  app.capture.value = "dermatoscope";
  await app.addPhotos([file("a.jpg")]);
  expect(app.answer.value!.differ).toBe(false);
  call.mockImplementation(async () => analysis(VASCULAR));
  await app.addPhotos([file("b.jpg")]);
  expect(app.answer.value).toMatchObject({ counted: 2, differ: true });
});

test("a worker that ends drops no photograph: it waits until the model is back", async () => {
  const app = await start();
  app.capture.value = "dermatoscope";
  for (const key of ["workerFailed", "workerEnded", "noModel"] as const) {
    call.mockImplementation(async () => Promise.reject(new app.AppError(key, { detail: "" })));
    await app.addPhotos([file("a.jpg")]);
    expect(app.photos.value).toHaveLength(1);
    expect(app.model.value).toMatchObject({ kind: "failed", error: { key } });
    call.mockImplementation(async () => analysis(NEVUS));
    app.model.value = app.ready;
    await app.classifyWaiting();
    expect(app.answer.value!.verdict.kind).toBe("below");
    app.clearSession();
  }
  call.mockImplementation(async () => Promise.reject(new app.AppError("imageDamaged")));
  await app.addPhotos([file("bad.jpg")]);
  expect(app.photos.value).toHaveLength(0);
  expect(app.notices.value).toMatchObject([{ subject: "bad.jpg", error: { key: "imageDamaged" } }]);
});

test("after a crop the answer of before is no answer yet, and a crop that fails is taken back", async () => {
  const app = await start();
  app.capture.value = "dermatoscope";
  await app.addPhotos([file("a.jpg")]);
  expect(app.busy.value).toBe(false);
  const edit = { turns: 1, crop: null };
  const edited = app.editPhoto(app.photos.value[0].id, edit);
  expect(app.busy.value).toBe(true);
  await edited;
  expect([app.busy.value, app.photos.value[0].edit]).toEqual([false, edit]);
  call.mockImplementation(async () => Promise.reject(new app.AppError("canvasUnavailable")));
  await app.editPhoto(app.photos.value[0].id, NO_EDIT);
  expect([app.busy.value, app.photos.value[0].edit]).toEqual([false, edit]);
});

describe("a reload", () => {
  test("loses no photograph, no crop, no answer to a question and no word", async () => {
    const kept = new Map<string, string>(); // outlasts a reload
    vi.stubGlobal("sessionStorage", {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => kept.set(key, value),
    });
    vi.stubGlobal("navigator", {}); // without locks, as over plain HTTP
    const before = await start();
    await before.startDraft();
    before.capture.value = "dermatoscope";
    await before.addPhotos([file("a.jpg"), file("b.jpg")]);
    await before.editPhoto(before.photos.value[1].id, { turns: 3, crop: null });
    before.toggleConcern("growing");
    before.words.value = { target: "", title: "half written", site: null, note: "", date: "2024-01-01" };
    await before.draftKept();
    vi.resetModules();
    const after = await start();
    expect(after.photos.value).toEqual([]);
    await after.startDraft();
    expect(after.photos.value.map(({ name, edit }) => [name, edit.turns])).toEqual([
      ["a.jpg", 0],
      ["b.jpg", 3],
    ]);
    expect(await after.photos.value[1].blob.text()).toBe("b.jpg");
    expect([after.concerns.value, after.words.value?.title]).toEqual([["growing"], "half written"]);
  });
});
