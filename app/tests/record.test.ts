import "fake-indexeddb/auto";
import { expect, test } from "vitest";
import { fhirRecord } from "../src/fhir/record";
import { DIAGNOSES } from "../src/hypo/diagnoses";
import { fractionOfRegion } from "../src/hypo/fraction";
import { type RegionScore, vasi, withScore } from "../src/hypo/vasi";
import { type CaseWithVisits, deleteEverything, listCases, readCase, mergeIntoNotebook } from "../src/notebook/cases";
import { briefOf } from "../src/notebook/brief";
import { mergeCase } from "../src/notebook/merge";
import { mergedPatient } from "../src/patients/merge";
import { plainVisit } from "../src/notebook/record";
import { exportNotebook, importNotebook } from "../src/notebook/transfer";
import { calendarFile } from "../src/patients/calendar";
import { decrypt, encrypt, isEncrypted } from "../src/patients/encryption";
import { clinicalWords, type Filters, matches, NO_FILTERS, searchPatients, summaries } from "../src/patients/search";
import {
  changeSheet,
  deletePatient,
  listPatients,
  listSheets,
  newPatient,
  newSheet,
  readSheet,
  savePatient,
  saveSheet,
  settleSheet,
} from "../src/patients/store";
import type { Measure, Patient, Sheet } from "../src/patients/types";
import { speak } from "../src/i18n";
import { number, withError } from "../src/ui/record/numbers";
import { areaCurve, patchArea, sizesOver, vasiCurve } from "../src/ui/record/growth";
import { readFileSync } from "node:fs";
import path from "node:path";
import { FIXTURES } from "./fixtures";
import { caseOf, JPEG, visitOf } from "./records";

const SQUARE = [
  { x: 100, y: 100 },
  { x: 200, y: 100 },
  { x: 200, y: 200 },
  { x: 100, y: 200 },
];
const MEASURE: Measure = {
  target: "dark",
  shapes: [SQUARE],
  proposed: false,
  scale: { source: "field", mmPerPixel: 0.05, relativeError: 0.02 },
};

const PATIENT: Patient = {
  id: "p1",
  code: "P-001",
  birthYear: 1980,
  skinType: 3,
  note: "",
  created: "2024-01-01T00:00:00.000Z",
  updated: "2024-01-01T00:00:00.000Z",
};

function lesion(id: string, patientId: string | null = "p1"): CaseWithVisits {
  const visit = { ...visitOf(`${id}-v`, "2024-03-02", JPEG, { measure: MEASURE }), note: "first look" };
  return {
    ...caseOf(id, "Mole on the arm", [visit]),
    clinical: { patientId, diagnosis: "naevus", histology: "junctional naevus", reminder: "2024-09-01" },
  };
}

const SHEET: Sheet = {
  id: "s1",
  patientId: "p1",
  date: "2024-03-02",
  diagnosis: "vitiligo",
  treatment: "narrowband UV-B, three times a week",
  note: "",
  scores: [
    { region: "hands", handUnits: 2, depigmentation: 50 },
    { region: "trunk", handUnits: 3, depigmentation: 25 },
  ],
  pairs: [
    {
      id: "r1",
      region: "trunk",
      visible: {
        image: JPEG,
        width: 400,
        height: 300,
        measure: { ...MEASURE, target: "pale" },
        region: [...SQUARE].map(({ x, y }) => ({ x: 2 * x - 150, y: 2 * y - 150 })),
      },
      wood: {
        image: JPEG,
        width: 400,
        height: 300,
        measure: { ...MEASURE, target: "wood", scale: null },
        region: null,
      },
    },
  ],
  created: "2024-03-02T10:00:00.000Z",
  updated: "2024-03-02T10:00:00.000Z",
};

test("VASI by hand: hand units times residual depigmentation, face and neck apart", () => {
  // Worked by hand: 2 x 0.5 + 6 x 0.25 + 10 x 1 + 4 x 0.9 + 1 x 0.1 = 16.2.
  const scores: RegionScore[] = [
    { region: "hands", handUnits: 2, depigmentation: 50 },
    { region: "upperExtremities", handUnits: 6, depigmentation: 25 },
    { region: "trunk", handUnits: 10, depigmentation: 100 },
    { region: "lowerExtremities", handUnits: 4, depigmentation: 90 },
    { region: "feet", handUnits: 1, depigmentation: 10 },
    { region: "faceNeck", handUnits: 2, depigmentation: 75 },
  ];
  const result = vasi(scores);
  expect(result.total).toBeCloseTo(16.2, 9);
  expect(result.steps.map(({ product }) => Number(product.toFixed(6)))).toEqual([1, 1.5, 10, 3.6, 0.1, 1.5]);
  expect(result.faceNeck).toBeCloseTo(1.5, 9);
  // Borders of the steps: 37.5-62.5, 17.5-37.5, 95-100, 82.5-95, 5-17.5 %.
  expect(result.low).toBeCloseTo(0.75 + 1.05 + 9.5 + 3.3 + 0.05, 9);
  expect(result.high).toBeCloseTo(1.25 + 2.25 + 10 + 3.8 + 0.175, 9);
  expect(result.adultHand).toBeCloseTo(16.2 * 0.87, 9);
  expect(vasi([]).total).toBe(0);
  expect(vasi([{ region: "trunk", handUnits: 100, depigmentation: 100 }]).total).toBe(100);
  expect(() => vasi([{ region: "trunk", handUnits: 101, depigmentation: 100 }])).toThrow(RangeError);
  expect(() => vasi([scores[0], { region: "trunk", handUnits: 99, depigmentation: 10 }])).toThrow(RangeError);
});

test("a region scored as free of patches counts, an emptied one does not, and no body has more than itself", () => {
  const scores: RegionScore[] = [{ region: "trunk", handUnits: 60, depigmentation: 50 }];
  const more = withScore(scores, "hands", { handUnits: 0 });
  expect(more.map(({ region, handUnits }) => [region, handUnits])).toEqual([
    ["hands", 0],
    ["trunk", 60],
  ]);
  expect(withScore(more, "trunk", null)).toMatchObject([{ region: "hands" }]);
  expect(withScore(scores, "feet", { handUnits: 41 })).toEqual(scores);
  expect(() => vasi([...scores, ...scores])).toThrow(RangeError);
  const sheet = (...given: RegionScore[]): Sheet => ({ ...SHEET, scores: given });
  const cleared: RegionScore = { region: "hands", handUnits: 0, depigmentation: 100 };
  expect(vasiCurve([sheet(...scores), sheet(cleared)]).map(({ value }) => value)).toEqual([30, 0]);
  expect(vasiCurve([sheet(), sheet({ ...cleared, region: "faceNeck" })])).toEqual([]); // face and neck are no total
});

test("areas are compared only where each outline has its scale, and the dates show the same regions in the same light", () => {
  const [trunk] = SHEET.pairs;
  const { visible } = trunk;
  const on = (date: string, ...pairs: Sheet["pairs"]): Sheet => ({ ...SHEET, date, pairs });
  const halved = { ...visible!, measure: { ...visible!.measure, scale: { ...MEASURE.scale!, mmPerPixel: 0.025 } } };
  const unscaled = { ...visible!, measure: { ...visible!.measure, scale: null } };
  expect(patchArea(on("2024-01-01", trunk))!.value).toBeCloseTo(25, 6); // 100 x 100 pixels of 0.05 mm
  expect(patchArea(on("2024-01-01", { ...trunk, visible: halved }))!.value).toBeCloseTo(6.25, 6);
  expect(patchArea(on("2024-01-01", trunk, { ...trunk, id: "r2", visible: unscaled }))).toBeNull();
  const days = (...sheets: Sheet[]) => areaCurve(sheets).map(({ day }) => day);
  const feet = { ...trunk, id: "r3", region: "feet" as const };
  const wood = {
    ...trunk,
    visible: null,
    wood: { ...visible!, measure: { ...visible!.measure, target: "wood" as const } },
  };
  const [a, c] = [on("2024-01-01", trunk), on("2024-03-01", trunk)];
  expect(days(a, on("2024-02-01", trunk, feet), c)).toEqual([a.date, c.date]);
  expect(days(a, on("2024-02-01", wood), c)).toEqual([a.date, c.date]);
  expect(days(a, on("2024-02-01", { ...trunk, visible: unscaled }), c)).toEqual([a.date, c.date]);
});

test("a lesion's size needs an outline with an area and a scale; a date without is no point of the curve", () => {
  const at = (date: string, measure?: Measure) => ({
    ...visitOf(date, date, JPEG, measure && { measure }),
    caseId: "one",
  });
  const line = { ...MEASURE, shapes: [[SQUARE[0], SQUARE[1], SQUARE[0]]] };
  const visits = [at("2024-01-01", MEASURE), at("2024-02-01"), at("2024-03-01", { ...MEASURE, scale: null })];
  expect(sizesOver([...visits, at("2024-04-01", line)]).map(({ day }) => day)).toEqual(["2024-01-01"]);
});

test("per cent of a region counts a patch once, and only its part inside", () => {
  const box = (x: number, y: number, side: number) => [
    { x, y },
    { x: x + side, y },
    { x: x + side, y: y + side },
    { x, y: y + side },
  ];
  const region = box(0, 0, 100);
  expect(fractionOfRegion(region, [box(10, 10, 20)])).toBeCloseTo(0.04, 3);
  expect(fractionOfRegion(region, [box(10, 10, 20), box(10, 10, 20)])).toBeCloseTo(0.04, 3);
  expect(fractionOfRegion(region, [box(90, 90, 20)])).toBeCloseTo(0.01, 3);
  expect(fractionOfRegion(region, [])).toBe(0);
  expect(fractionOfRegion(null, [region])).toBeNull();
});

test("figures are written in the manner of the language, and no zero has a sign", async () => {
  const figures = () => [
    withError({ value: 12.44, error: 1.12 }, "mm²"),
    number(9.375),
    number(-0.2, 0),
    number(1234.5),
  ];
  expect(figures()).toEqual(["12.4 ± 1.1\u00a0mm²", "9.38", "0", "1234.5"]);
  await speak("es");
  expect(figures()).toEqual(["12,4 ± 1,1\u00a0mm²", "9,38", "0", "1234,5"]);
  await speak("en");
});

test("the picking list is that of the hypo recipe", () => {
  const python = readFileSync(path.join(import.meta.dirname, "../../lentigo/labels.py"), "utf8");
  const listed = python.slice(python.indexOf("HYPO = LabelSet(")).split("\n)")[0];
  const classes = [...listed.matchAll(/ClassLabel\("(\w+)", "([^"]+)", "([^"]+)"/g)].map(([, code, en, zh]) => ({
    code,
    en,
    zh,
  }));
  expect(classes).toHaveLength(10);
  expect(DIAGNOSES.map(({ code, en, zh }) => ({ code, en, zh }))).toEqual(classes);
});

test("a reminder is one day in the calendar", () => {
  const text = calendarFile(
    [{ id: "abc", day: "2024-12-31", summary: `Look, again; ${"é".repeat(60)}` }],
    new Date("2024-06-01T12:00:00Z"),
  );
  expect(text).toContain("DTSTART;VALUE=DATE:20241231\r\nDTEND;VALUE=DATE:20250101\r\n");
  expect(text).toContain("DTSTAMP:20240601T120000Z\r\n");
  expect(text).toContain("SUMMARY:Look\\, again\\; é");
  for (const line of text.split("\r\n")) expect(new TextEncoder().encode(line).length).toBeLessThanOrEqual(75);
  expect(text.replaceAll("\r\n ", "")).toContain("é".repeat(60));
  expect(text.replaceAll("\r\n", "")).not.toContain("\n");
  const hostile = calendarFile([
    { id: "a\r\nBEGIN:VALARM", day: "2024-02-29", summary: "one\rtwo\nمرحبا 🦋".repeat(9) },
  ]);
  expect(hostile).not.toMatch(/^BEGIN:VALARM/m);
  expect(hostile.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/);
  expect(hostile).toContain("DTEND;VALUE=DATE:20240301");
});

test("a file under a passphrase comes back with it, and not without", async () => {
  const content = new Blob(['{"a":1}'], { type: "application/json" });
  const secret = await encrypt(content, "correct horse");
  expect(await isEncrypted(secret)).toBe(true);
  expect(await isEncrypted(content)).toBe(false);
  expect(await secret.text()).not.toContain('"a"');
  expect(await (await decrypt(secret, "correct horse")).text()).toBe('{"a":1}');
  await expect(decrypt(secret, "wrong horse 1")).rejects.toMatchObject({ key: "passphraseWrong" });
  await expect(encrypt(content, "short")).rejects.toMatchObject({ key: "passphraseShort" });
  const changed = JSON.parse(await secret.text()) as { data: string };
  changed.data = `${changed.data[0] === "A" ? "B" : "A"}${changed.data.slice(1)}`;
  await expect(decrypt(new Blob([JSON.stringify(changed)]), "correct horse")).rejects.toMatchObject({
    key: "passphraseWrong",
  });
  const cut = { ...changed, data: changed.data.slice(0, -1) };
  await expect(decrypt(new Blob([JSON.stringify(cut)]), "correct horse")).rejects.toMatchObject({
    key: "importNotNotebook",
  });
  const slow = { ...changed, kdf: { name: "PBKDF2", hash: "SHA-256", iterations: 1e9, salt: "" } };
  await expect(decrypt(new Blob([JSON.stringify(slow)]), "correct horse")).rejects.toMatchObject({
    key: "importNotNotebook",
  });
});

test("a deleted patient takes the sheets along and leaves the lesions", async () => {
  await deleteEverything();
  await savePatient(PATIENT);
  await mergeIntoNotebook([lesion("one"), lesion("other", "p2")]);
  await saveSheet(SHEET);
  expect((await listSheets("p1")).records).toHaveLength(1);
  await deletePatient("p1");
  expect(await listPatients()).toHaveLength(0);
  expect((await listSheets("p1")).records).toHaveLength(0);
  const left = (await listCases()).cases;
  expect(left).toHaveLength(2);
  expect(left.map((one) => one.clinical?.patientId).sort()).toEqual([null, "p2"].sort());
  expect((await readCase("one"))!.clinical!.histology).toBe("junctional naevus");
});

test("export and import carry patients, sheets, outlines and what the clinician said", async () => {
  const file = await exportNotebook({ cases: [lesion("one")], patients: [PATIENT], sheets: [SHEET] });
  const back = await importNotebook(file);
  expect(back.patients).toEqual([PATIENT]);
  expect(back.cases[0].clinical).toEqual(lesion("one").clinical);
  expect(back.cases[0].visits[0].photos[0].measure).toEqual(MEASURE);
  expect(back.sheets[0].scores).toEqual(SHEET.scores);
  expect(back.sheets[0].pairs[0].visible!.region).toHaveLength(4);
  expect(await back.sheets[0].pairs[0].wood!.image.arrayBuffer()).toEqual(await JPEG.arrayBuffer());
  const wrong = (await file.text()).replace('"handUnits":2', '"handUnits":200');
  await expect(importNotebook(new Blob([wrong]))).rejects.toMatchObject({ key: "importInvalid" });
  // What no form takes is refused with the field's name, and nothing of the file is imported.
  const text = await file.text();
  for (const [from, to, field] of [
    ['"birthYear":1980', '"birthYear":3024', "patients.0.birthYear"],
    ['"handUnits":3', '"handUnits":99', "sheets.0.scores"],
    ['"mmPerPixel":0.05', '"mmPerPixel":0', "cases.0.visits.0.photos.0.measure.scale.mmPerPixel"],
    ['"width":400', '"width":0', "cases.0.visits.0.photos.0.width"],
    ['"reminder":"2024-09-01"', '"reminder":"2024-02-31"', "cases.0.clinical.reminder"],
    ['"date":"2024-03-02"', '"date":"0024-03-02"', "cases.0.visits.0.date"],
    ['"updated":"2024-03-02T10:00:00.000Z"', '"updated":"2024-03-02T10:00:00"', "cases.0.updated"],
    ['"x":100', '"x":1e300', "cases.0.visits.0.photos.0.measure.shapes.0.0.x"],
  ]) {
    expect(text).toContain(from);
    await expect(importNotebook(new Blob([text.replace(from, to)]))).rejects.toMatchObject({
      key: "importInvalid",
      params: { field },
    });
  }
  // Instants of another zone are told apart by time, not by their text.
  const zoned = text.replace('"updated":"2024-03-02T10:00:00.000Z"', '"updated":"2024-03-02T12:00:00+05:00"');
  expect((await importNotebook(new Blob([zoned]))).cases[0].updated).toBe("2024-03-02T07:00:00.000Z");
  // Long notes, words from right to left and signs beyond the first plane come back as they were.
  const words = "شامة 🦋 \u202e\u0000".repeat(3000);
  const noted = await importNotebook(await exportNotebook({ cases: [{ ...lesion("one"), note: words }] }));
  expect(noted.cases[0].note).toBe(words);
  expect(text).toContain("not a medical device");
  // A file of before patients were there.
  expect(await importNotebook(await exportNotebook({ cases: [] }))).toEqual({ cases: [], patients: [], sheets: [] });
});

test("an import loses nothing that was written here", async () => {
  await deleteEverything();
  const here = { ...PATIENT, note: "allergic to tape", updated: "2024-02-01T00:00:00.000Z" };
  const there = { ...PATIENT, note: "moved house", updated: "2024-03-01T00:00:00.000Z" };
  expect(mergedPatient(here, there).note).toContain("moved house");
  expect(mergedPatient(here, there).note).toContain("allergic to tape");
  expect(mergedPatient(here, mergedPatient(here, there)).note).toBe(mergedPatient(here, there).note);
  const renamed = mergedPatient({ ...here, code: "P-9", birthYear: 1950, skinType: 5 }, there);
  expect(renamed).toMatchObject({ code: there.code, birthYear: there.birthYear, skinType: there.skinType });
  expect(renamed.note).toBe("moved house\n\n[2024-02-01]\nP-9\n1950\nV\nallergic to tape");
  expect(mergedPatient({ ...here, code: "P-9", birthYear: 1950, skinType: 5 }, renamed)).toEqual(renamed);
  await saveSheet(SHEET);
  const [saved] = (await listSheets("p1")).records;
  const other = { ...SHEET, treatment: "none", updated: "2020-01-01T00:00:00.000Z" };
  expect(await mergeIntoNotebook([], [], [other])).toMatchObject({ others: 1 });
  expect((await mergeIntoNotebook([], [], [other])).others).toBeUndefined();
  await mergeIntoNotebook([], [], [{ ...saved, updated: "2030-01-01T00:00:00.000Z" }]); // written again as it was
  const sheets = (await listSheets("p1")).records;
  expect(sheets.map(({ treatment }) => treatment).sort()).toEqual([saved.treatment, "none"].sort());
  // What is written on the kept version stays, and either of the two can be chosen.
  const kept = sheets.find(({ versionOf }) => versionOf === "s1")!;
  await changeSheet(kept.id, () => ({ note: "looked at" }));
  await mergeIntoNotebook([], [], [other]);
  const noted = (await readSheet(kept.id))!;
  expect(noted.note).toBe("looked at");
  expect(await settleSheet(noted, true)).toBe("s1");
  expect((await listSheets("p1")).records).toMatchObject([{ id: "s1", treatment: "none", note: "looked at" }]);
  // A file's newer sheet wins over this device's, with its scores, patches and scale.
  const scores: RegionScore[] = [{ region: "hands", handUnits: 9, depigmentation: 90 }];
  await mergeIntoNotebook([], [], [{ ...SHEET, scores, updated: "2031-01-01T00:00:00.000Z" }]);
  const [first, second] = (await listSheets("p1")).records.sort((a, b) => a.id.length - b.id.length);
  expect([first.scores, second.treatment, second.versionOf]).toEqual([scores, "none", "s1"]);
  expect(await settleSheet(second, false)).toBe("s1");
  expect((await listSheets("p1")).records).toMatchObject([{ id: "s1", scores }]);
  // A lesion: the older diagnosis is kept as a conflict.
  const mine = lesion("one");
  const theirs = {
    ...lesion("one"),
    updated: "2024-05-01T00:00:00.000Z",
    clinical: { ...mine.clinical!, diagnosis: "melanoma" },
  };
  const merged = mergeCase(mine, theirs);
  expect(merged.clinical!.diagnosis).toBe("melanoma");
  expect(merged.conflicts![0].clinical!.diagnosis).toBe("naevus");
  // Outlines that only the file has are taken.
  const bare = lesion("one");
  delete bare.visits[0].photos[0].measure;
  expect(mergeCase(bare, lesion("one")).visits[0].photos[0].measure).toEqual(MEASURE);
});

test("patients and lesions are found by words and filters", () => {
  const people = [PATIENT, { ...PATIENT, id: "p2", code: "Q-7", note: "twin" }];
  expect(searchPatients(people, "p-0")).toHaveLength(1);
  expect(searchPatients(people, "TWIN q")).toHaveLength(1);
  const one = lesion("one");
  expect(clinicalWords(one, new Map([[PATIENT.id, PATIENT]]))).toContain("P-001");
  const brief = { ...one, visits: one.visits.map(briefOf) };
  const found = (filters: Partial<Filters>, lesion = brief) => matches(lesion, { ...NO_FILTERS, ...filters });
  expect(found({})).toBe(true);
  expect([found({ dueBy: "2024-09-01" }), found({ dueBy: "2024-08-31" })]).toEqual([true, false]);
  expect([found({ patientId: "p1" }), found({ patientId: "p2" })]).toEqual([true, false]);
  expect([found({ place: "front:left.forearm" }), found({ place: "back:left.forearm" })]).toEqual([true, false]);
  expect([found({ verdict: "above" }), found({ verdict: "below" })]).toEqual([true, false]);
  // A later date without an answer does not hide what a model said before.
  const plain = { ...brief, visits: [...brief.visits, briefOf(plainVisit("one", "2024-09-09"))] };
  expect([found({ verdict: "above" }, plain), found({ verdict: "none" }, plain)]).toEqual([true, false]);
  expect(found({ verdict: "none" }, { ...brief, visits: plain.visits.slice(-1) })).toBe(true);
  expect(summaries([one, lesion("two")]).get("p1")).toEqual({ lesions: 2, reminder: "2024-09-01" });
});

test("the FHIR record is the one that tests/app/test_fhir.py validates", async () => {
  const one = lesion("one");
  const ppv = { value: 0.08, low: 0.07, high: 0.1 };
  one.visits[0].values = { prevalence: 0.03, ppv, npv: { value: 0.99, low: null, high: null } };
  const record = await fhirRecord({
    patient: PATIENT,
    lesions: [one],
    sheets: [SHEET],
    placeName: () => "Left forearm",
    now: new Date("2024-06-01T12:00:00Z"),
  });
  const file = path.join(FIXTURES, "fhir-record.json");
  await expect(`${JSON.stringify(record, null, 1)}\n`).toMatchFileSnapshot(file);
  const known = new Set(record.entry.map(({ fullUrl }) => fullUrl));
  expect(known.size).toBe(record.entry.length);
  const referred = JSON.stringify(record).matchAll(/"reference":"([^"]+)"/g);
  for (const [, reference] of referred) expect(known).toContain(reference);
  // Nobody has verified these results, and each says what they are.
  for (const { resource } of record.entry) {
    if (!["Observation", "DiagnosticReport"].includes(resource.resourceType)) continue;
    expect(resource["status"]).not.toBe("final");
    expect(JSON.stringify(resource["note"])).toContain("not a medical device");
  }
  // A benign class leads, and the verdict stands before it.
  const answer = record.entry.find(({ resource }) => JSON.stringify(resource).includes("model-answer"))!.resource;
  expect(answer["valueString"]).toBe("Above the line for malignant classes");
  const kinds = new Set(record.entry.map(({ resource }) => resource.resourceType));
  for (const kind of [
    "Patient",
    "BodyStructure",
    "DocumentReference",
    "ImagingSelection",
    "Observation",
    "DiagnosticReport",
  ]) {
    expect(kinds).toContain(kind);
  }
});

test("new records have identities of their own", () => {
  expect(newPatient("a").id).not.toBe(newPatient("a").id);
  expect(newSheet("p1", "2024-01-01").patientId).toBe("p1");
});
