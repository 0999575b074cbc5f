import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { type IDBPDatabase, openDB } from "idb";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  changeVisit,
  deleteEverything,
  listCases,
  mergeIntoNotebook,
  openCase,
  readCase,
  readCases,
  saveVisit,
} from "../src/notebook/cases";
import { briefsIn, shardOf } from "../src/notebook/brief";
import { database } from "../src/notebook/database";
import { plainVisit } from "../src/notebook/record";
import { exportNotebook, importNotebook } from "../src/notebook/transfer";
import {
  listPatients,
  listSheets,
  newPatient,
  newSheet,
  readEverything,
  readPatient,
  readSheet,
  saveClinical,
  saveMeasure,
  savePatient,
  saveSheet,
} from "../src/patients/store";
import { bare, caseOf, JPEG, visitOf } from "./records";

const ARM = caseOf("arm", "Mole on the arm", [
  visitOf("arm-1", "2024-03-02", JPEG),
  { ...visitOf("arm-2", "2024-06-01", JPEG), note: "larger" },
]);
const BACK = caseOf("back", "Spot on the back", [visitOf("back-1", "2024-04-01", JPEG)]);

/** What each earlier version of the app had in its database. */
const EARLIER: ((db: IDBPDatabase) => void)[] = [
  (db) => {
    db.createObjectStore("cases", { keyPath: "id" });
    db.createObjectStore("visits", { keyPath: "id" }).createIndex("case", "caseId");
    db.createObjectStore("bundles", { keyPath: "name" });
  },
  (db) => {
    db.createObjectStore("drafts", { keyPath: "id" });
    db.createObjectStore("draftPhotos", { keyPath: ["draft", "key"] });
  },
  (db) => {
    db.createObjectStore("patients", { keyPath: "id" });
    db.createObjectStore("sheets", { keyPath: "id" }).createIndex("patient", "patientId");
  },
  (db) => {
    db.createObjectStore("briefs", { keyPath: "id" });
  },
];

beforeEach(deleteEverything);
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.resetModules(); // no test is left with a database of another
});

test.each([1, 2, 3, 4])(
  "a database of version %i keeps every record, is indexed, and takes new ones",
  async (version) => {
    vi.stubGlobal("indexedDB", new IDBFactory());
    const before = await openDB("lentigo", version, {
      upgrade: (db) => EARLIER.slice(0, version).forEach((make) => make(db)),
    });
    await before.put("cases", bare(ARM));
    for (const visit of ARM.visits) await before.put("visits", visit);
    if (version >= 2) await before.put("drafts", { id: "d", saved: "", photos: [], concerns: [], followUp: null });
    if (version >= 3) await before.put("patients", { ...newPatient("P-001"), id: "p1" });
    before.close();
    vi.resetModules(); // the app is started anew
    const [cases, store] = await Promise.all([import("../src/notebook/cases"), import("../src/patients/store")]);
    const listed = await cases.listCases();
    expect(listed.cases).toMatchObject([
      { id: "arm", title: "Mole on the arm", visits: [{ id: "arm-1" }, { id: "arm-2" }] },
    ]);
    expect(listed.cases[0].visits[1].words).toContain("larger");
    const db = await (await import("../src/notebook/database")).database();
    const indexed = async () => (await db.getAll("index")).flatMap(briefsIn).map(({ id }) => id);
    expect(await indexed()).toEqual(["arm-1", "arm-2"]);
    expect([...db.objectStoreNames]).not.toContain("briefs");
    expect(await db.count("drafts")).toBe(version >= 2 ? 1 : 0);
    expect((await store.listPatients()).map(({ code }) => code)).toEqual(version >= 3 ? ["P-001"] : []);
    await store.saveClinical("arm", { patientId: "p1", diagnosis: "naevus" });
    const measure = { target: "dark" as const, shapes: [], proposed: true, scale: null };
    await store.saveMeasure(ARM.visits[0], 0, measure);
    const one = (await cases.readCase("arm"))!;
    expect(one.clinical).toEqual({ patientId: "p1", diagnosis: "naevus", histology: "", reminder: null });
    expect(one.visits.map(({ note }) => note)).toEqual(["", "larger"]);
    expect(one.visits[0].photos[0].measure).toEqual(measure);
    db.close();
  },
);

describe("the index", () => {
  test("lists and finds without reading a visit or a photograph", async () => {
    await mergeIntoNotebook([ARM, BACK]);
    const stores: string[] = [];
    for (const name of ["get", "getAll", "openCursor"] as const) {
      const original = IDBObjectStore.prototype[name] as (...args: unknown[]) => IDBRequest;
      vi.spyOn(IDBObjectStore.prototype, name).mockImplementation(function (this: IDBObjectStore, ...args: unknown[]) {
        stores.push(this.name);
        return original.apply(this, args) as never;
      });
    }
    const { cases } = await listCases();
    expect(cases.map(({ visits }) => visits.length)).toEqual([2, 1]);
    expect(stores.sort()).toEqual(["cases", "index"]);
    const holdsBlob = (value: unknown): boolean =>
      value instanceof Blob ||
      (typeof value === "object" && value !== null && Object.values(value).some((inner) => holdsBlob(inner)));
    expect(holdsBlob(cases)).toBe(false);
    expect(holdsBlob(await readCase("arm"))).toBe(true);
    expect(stores).toContain("visits");
  });

  test("mends itself where it is behind the visits or ahead of them", async () => {
    await mergeIntoNotebook([ARM, BACK]);
    const db = await database();
    const indexed = async () => (await db.getAll("index")).flatMap(briefsIn).map(({ id }) => id);
    const shard = (await db.get("index", shardOf("arm")))!;
    await db.put("index", { ...shard, text: JSON.stringify(briefsIn(shard).filter(({ id }) => id !== "arm-2")) });
    const ids = async () => (await listCases()).cases.map(({ id, visits }) => [id, visits.map((visit) => visit.id)]);
    expect(await ids()).toEqual([
      ["arm", ["arm-1", "arm-2"]],
      ["back", ["back-1"]],
    ]);
    await db.delete("visits", "back-1");
    expect(await ids()).toEqual([
      ["arm", ["arm-1", "arm-2"]],
      ["back", []],
    ]);
    expect(await indexed()).toEqual(["arm-1", "arm-2"]);
  });
});

test("who asks after a change is not given what was read before it", async () => {
  await mergeIntoNotebook([ARM]);
  const early = listCases(); // its index is being read
  const changed = saveVisit(bare(ARM), { ...visitOf("arm-3", "2024-07-01", JPEG), caseId: "arm" });
  await changed;
  expect((await listCases()).cases[0].visits).toHaveLength(3);
  await early;
});

test("an outline is kept on the photograph it was drawn on, wherever that is by now", async () => {
  const photo = (id: string) => ({ ...ARM.visits[0].photos[0], id, probabilities: [] });
  const one = { ...plainVisit("arm", "2024-08-01"), photos: [photo("x"), photo("y")] };
  await saveVisit(bare(ARM), one);
  await changeVisit(one.id, ({ photos }) => ({ photos: photos.slice(1) })); // in another tab
  const measure = { target: "dark" as const, shapes: [], proposed: true, scale: null };
  await saveMeasure(one, 1, measure);
  await expect(saveMeasure(one, 0, measure)).rejects.toMatchObject({ key: "recordGone" });
  expect((await readCase("arm"))!.visits[0].photos).toMatchObject([{ id: "y", measure }]);
});

describe("a damaged record", () => {
  const damage = async (store: "cases" | "visits" | "patients" | "sheets", id: string, field: string) => {
    const db = await database();
    const record = { ...(await db.get(store, id)) } as Record<string, unknown>;
    delete record[field];
    await db.put(store, record as never);
  };

  test("of a visit is counted, left as it is, and hides no other date", async () => {
    await mergeIntoNotebook([ARM]);
    await damage("visits", "arm-1", "photos");
    await (await database()).clear("index");
    const listed = await listCases();
    expect(listed.cases[0].visits.map(({ id }) => id)).toEqual(["arm-2"]);
    const opened = (await openCase("arm"))!;
    expect([opened.damaged, opened.one.visits.map(({ id }) => id)]).toEqual([1, ["arm-2"]]);
    expect(await (await database()).get("visits", "arm-1")).toMatchObject({ date: "2024-03-02" });
    // What is whole goes into a file, and a file that holds the visit brings it back.
    const everything = await readEverything();
    expect([everything.damaged, everything.cases[0].visits.length]).toEqual([1, 1]);
    await mergeIntoNotebook((await importNotebook(await exportNotebook({ cases: [ARM] }))).cases);
    expect(await openCase("arm")).toMatchObject({ damaged: 0, one: { visits: [{ id: "arm-1" }, { id: "arm-2" }] } });
  });

  test("of a lesion is told, and the others are listed", async () => {
    await mergeIntoNotebook([ARM, BACK]);
    await damage("cases", "arm", "title");
    expect(await listCases()).toMatchObject({ cases: [{ id: "back" }], damaged: 1 });
    await expect(readCase("arm")).rejects.toMatchObject({ key: "recordDamaged" });
    expect(await readCases(["arm", "back"])).toMatchObject({ cases: [{ id: "back" }], damaged: 1 });
    await mergeIntoNotebook([ARM]);
    expect((await readCase("arm"))!.visits).toHaveLength(2);
  });

  test("of a patient or a sheet is told, and an import brings it back", async () => {
    const patient = { ...newPatient("P-001"), id: "p1", note: "allergic to tape" };
    const [first, second] = [newSheet("p1", "2024-01-01"), newSheet("p1", "2024-02-01")];
    await savePatient(patient);
    await saveSheet(first);
    await saveSheet(second);
    await damage("patients", "p1", "note");
    await damage("sheets", first.id, "pairs");
    expect(await listPatients()).toEqual([]);
    await expect(readPatient("p1")).rejects.toMatchObject({ key: "recordDamaged" });
    await expect(readSheet(first.id)).rejects.toMatchObject({ key: "recordDamaged" });
    const sheets = await listSheets("p1");
    expect([sheets.damaged, sheets.records.map(({ id }) => id)]).toEqual([1, [second.id]]);
    await mergeIntoNotebook([], [patient], [first]);
    expect((await readPatient("p1"))!.note).toBe("allergic to tape");
    expect((await listSheets("p1")).records).toHaveLength(2);
  });

  test("that the browser cannot read at all hides no other", async () => {
    await mergeIntoNotebook([ARM, BACK]);
    const unreadable = (): never => {
      throw new DOMException("Failed to read large IndexedDB value", "DataError");
    };
    const { get, getAll } = IDBObjectStore.prototype;
    vi.spyOn(IDBObjectStore.prototype, "getAll").mockImplementation(function (this: IDBObjectStore) {
      return this.name === "cases" ? unreadable() : getAll.call(this);
    });
    vi.spyOn(IDBObjectStore.prototype, "get").mockImplementation(function (this: IDBObjectStore, key) {
      return key === "arm" ? unreadable() : get.call(this, key);
    });
    expect(await listCases()).toMatchObject({ cases: [{ id: "back" }], damaged: 1 });
    await expect(readCase("arm")).rejects.toMatchObject({ key: "storageUnread" });
  });
});

describe("a full device", () => {
  const fill = (...stores: string[]): void => {
    const { put } = IDBObjectStore.prototype;
    vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(function (this: IDBObjectStore, ...args) {
      if (stores.includes(this.name)) throw new DOMException("no space", "QuotaExceededError");
      return put.apply(this, args);
    });
  };

  test.each(["cases", "visits", "index"])("at the %s: the case is kept as it was, whole", async (store) => {
    await mergeIntoNotebook([ARM]);
    fill(store);
    const more = { ...visitOf("arm-3", "2024-07-01", JPEG), caseId: "arm" };
    await expect(saveVisit({ ...bare(ARM), title: "changed" }, more)).rejects.toMatchObject({ key: "storageFull" });
    vi.restoreAllMocks();
    expect(await readCase("arm")).toMatchObject({ title: ARM.title, visits: [{ id: "arm-1" }, { id: "arm-2" }] });
    expect((await listCases()).cases[0].visits).toHaveLength(2);
  });

  test.each(["cases", "patients", "sheets"])("at the %s of an import: none of it is taken", async (store) => {
    fill(store);
    const patient = newPatient("P-001");
    const whole = mergeIntoNotebook([ARM], [patient], [newSheet(patient.id, "2024-01-01")]);
    await expect(whole).rejects.toMatchObject({ key: "storageFull" });
    vi.restoreAllMocks();
    expect([await listCases(), await listPatients()]).toEqual([{ cases: [], damaged: 0 }, []]);
    expect((await listSheets(patient.id)).records).toEqual([]);
  });

  test("at patients, sheets, diagnosis and outline: told, and nothing is changed", async () => {
    await mergeIntoNotebook([ARM]);
    const patient = newPatient("P-001");
    const sheet = newSheet(patient.id, "2024-01-01");
    await savePatient(patient);
    await saveSheet(sheet);
    fill("patients", "sheets", "cases", "visits");
    const measure = { target: "dark" as const, shapes: [], proposed: true, scale: null };
    for (const work of [
      savePatient({ ...patient, code: "other" }),
      saveSheet({ ...sheet, treatment: "other" }),
      saveClinical("arm", { diagnosis: "other" }),
      saveMeasure(ARM.visits[0], 0, measure),
    ]) {
      await expect(work).rejects.toMatchObject({ key: "storageFull" });
    }
    vi.restoreAllMocks();
    expect((await readPatient(patient.id))!.code).toBe("P-001");
    expect((await readSheet(sheet.id))!.treatment).toBe("");
    expect((await readCase("arm"))!.clinical).toBeUndefined();
    expect((await readCase("arm"))!.visits[0].photos[0].measure).toBeUndefined();
  });
});
