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
  expect(app.answer.value!.verdict).toMatchObject({ kind: "unsure", doubt: "different" });
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
  await app.addPhotos(["b.jpg", "c.jpg", "d.jpg", "e.jpg"].map(file));
  const named = app.notices.value.map((notice) => "subject" in notice && notice.subject);
  expect(named).toEqual(["bad.jpg", "b.jpg", "c.jpg, d.jpg, e.jpg"]); // nobody's message is pushed out by the next one's
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

describe("what is removed can be brought back", () => {
  const undo = (notice: { undo?: () => void } | undefined) => notice!.undo!();

  test("each photograph by itself", async () => {
    const app = await start();
    app.capture.value = "dermatoscope";
    await app.addPhotos([file("a.jpg"), file("b.jpg"), file("c.jpg")]);
    for (const { id } of app.photos.value.slice(0, 2)) app.removePhoto(id);
    expect(app.notices.value).toHaveLength(2);
    app.notices.value.forEach((notice) => "undo" in notice && undo(notice));
    expect(app.photos.value.map(({ name }) => name).sort()).toEqual(["a.jpg", "b.jpg", "c.jpg"]);
  });

  test("and never into the check of another lesion, nor at the cost of its photographs", async () => {
    const app = await start();
    app.capture.value = "dermatoscope";
    await app.addPhotos([file("a.jpg"), file("b.jpg")]);
    app.removePhoto(app.photos.value[0].id);
    app.startOver();
    await app.addPhotos([file("other.jpg")]);
    const names = () => app.photos.value.map(({ name }) => name);
    const offered = app.notices.value.flatMap((notice) => ("undo" in notice ? [notice] : []));
    expect(offered).toMatchObject([{ text: "startedOver" }]);
    undo(offered[0]);
    expect(names()).toEqual(["b.jpg"]);
    undo(app.notices.value.at(-1) as { undo: () => void });
    expect(names()).toEqual(["other.jpg"]);
  });
});

/** What a browser keeps of a page when it is loaded anew; `tabs` are the pages that are open. */
function browserOf(stored: Map<string, string>, tabs: Set<(event: { data: unknown }) => void>) {
  vi.stubGlobal("sessionStorage", {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => stored.set(key, value),
  });
  class Channel {
    private own: ((event: { data: unknown }) => void)[] = [];
    addEventListener(_: string, listener: (event: { data: unknown }) => void) {
      this.own.push(listener);
      tabs.add(listener);
    }
    postMessage(data: unknown) {
      for (const listener of tabs) if (!this.own.includes(listener)) listener({ data });
    }
  }
  vi.stubGlobal("BroadcastChannel", Channel);
}

async function emptyDrafts(): Promise<void> {
  const { database } = await import("../src/notebook/database");
  for (const store of ["drafts", "draftPhotos"] as const) await (await database()).clear(store);
}

describe.each(["locks", "plain HTTP, without locks"])("a draft, with %s", (kind) => {
  /** Names of locks that open pages hold. */
  let held: Set<string>;
  let tabs: Set<(event: { data: unknown }) => void>;
  const locks = {
    request: async (name: string) => void held.add(name),
    query: async () => ({ held: [...held].map((name) => ({ name })) }),
  };
  beforeEach(async () => {
    [held, tabs] = [new Set(), new Set()];
    vi.stubGlobal("navigator", kind === "locks" ? { locks } : {});
    await emptyDrafts();
  });
  const closed = (): void => {
    held.clear();
    tabs.clear();
  };
  /** Open the app in a tab of its own, or in that of this storage. */
  async function open(stored = new Map<string, string>()) {
    vi.resetModules();
    browserOf(stored, tabs);
    const app = await start();
    await app.startDraft();
    return app;
  }

  test("is lost by no reload: photographs, crops, answers to questions, words", async () => {
    const stored = new Map<string, string>();
    const before = await open(stored);
    before.capture.value = "dermatoscope";
    await before.addPhotos([file("a.jpg"), file("b.jpg")]);
    await before.editPhoto(before.photos.value[1].id, { turns: 3, crop: null });
    before.toggleConcern("growing");
    before.words.value = { target: "", title: "half written", site: null, note: "", date: "2024-01-01" };
    await before.draftKept();
    closed();
    const after = await open(stored);
    expect(after.photos.value.map(({ name, edit }) => [name, edit.turns])).toEqual([
      ["a.jpg", 0],
      ["b.jpg", 3],
    ]);
    expect(await after.photos.value[1].blob.text()).toBe("b.jpg");
    expect([after.concerns.value, after.words.value?.title]).toEqual([["growing"], "half written"]);
  });

  test("is each tab's own, also where a tab is duplicated, and taken over once its tab is closed", async () => {
    const stored = new Map<string, string>();
    const first = await open(stored);
    await first.addPhotos([file("a.jpg")]);
    await first.draftKept();
    const copy = await open(new Map(stored)); // a duplicated tab has the storage of the other
    expect(copy.photos.value).toEqual([]);
    await copy.addPhotos([file("b.jpg")]);
    await copy.draftKept();
    await first.addPhotos([file("c.jpg")]);
    await first.draftKept();
    closed();
    const again = await open(stored);
    expect(again.photos.value.map(({ name }) => name)).toEqual(["a.jpg", "c.jpg"]);
    const next = await open();
    expect(next.photos.value.map(({ name }) => name)).toEqual(["b.jpg"]);
  });
});

test("what does not fit on the device is told, once, and kept when there is space again", async () => {
  vi.stubGlobal("navigator", {});
  browserOf(new Map(), new Set());
  await emptyDrafts();
  const app = await start();
  await app.startDraft();
  const { put } = IDBObjectStore.prototype;
  IDBObjectStore.prototype.put = () => {
    throw new DOMException("no space", "QuotaExceededError");
  };
  try {
    await app.addPhotos([file("a.jpg")]);
    app.toggleConcern("new");
    await app.draftKept();
  } finally {
    IDBObjectStore.prototype.put = put;
  }
  expect(app.notices.value).toMatchObject([{ kind: "error", error: { key: "draftNoSpace" } }]);
  app.toggleConcern("growing");
  await app.draftKept();
  const { database } = await import("../src/notebook/database");
  expect(await (await database()).getAll("draftPhotos")).toContainEqual(expect.objectContaining({ key: 0 }));
});
