import "fake-indexeddb/auto";
import { beforeEach, describe, expect, test } from "vitest";
import { briefOf } from "../src/notebook/brief";
import {
  type CaseWithVisits,
  changeCase,
  changeVisit,
  deleteCase,
  deleteEverything,
  deleteVisit,
  listCases,
  mergeIntoNotebook,
  readCase,
  saveVisit,
  settleConflict,
} from "../src/notebook/cases";
import { storageError } from "../src/notebook/database";
import { fhirRecord } from "../src/fhir/record";
import { plainVisit } from "../src/notebook/record";
import { searchCases } from "../src/notebook/search";
import { exportCases, importCases } from "../src/notebook/transfer";
import type { Visit } from "../src/notebook/types";
import type { Measure } from "../src/patients/types";
import { bytesOf, PHOTOS } from "./fixtures";
import { bare, caseOf, visitOf } from "./records";

const JPEG = bytesOf(PHOTOS, "mel.jpg");

const visit = (id: string, date: string): Omit<Visit, "caseId"> => ({
  ...visitOf(id, date, new Blob([JPEG], { type: "image/jpeg" }), { cam: { shape: [2, 1, 1], values: [0.5, 1] } }),
  note: "slightly larger",
});

const oneCase = (id: string, title: string, dates: string[]): CaseWithVisits =>
  caseOf(
    id,
    title,
    dates.map((date) => visit(`${id}-${date}`, date)),
  );

beforeEach(async () => {
  await deleteEverything();
});

describe("cases", () => {
  test("are saved, listed by change, read with their dates in order, and deleted with them", async () => {
    const first = oneCase("a", "Arm", ["2024-02-01"]);
    await mergeIntoNotebook([first, oneCase("b", "Back", ["2024-05-01"])]);
    await saveVisit(
      { ...bare(first), updated: "2024-06-01T00:00:00.000Z" },
      { ...visit("earlier", "2023-12-01"), caseId: "a" },
    );
    expect((await listCases()).cases.map(({ id, visits }) => [id, visits.map(({ date }) => date)])).toEqual([
      ["a", ["2023-12-01", "2024-02-01"]],
      ["b", ["2024-05-01"]],
    ]);
    expect((await readCase("a"))!.visits.map(({ date }) => date)).toEqual(["2023-12-01", "2024-02-01"]);
    await deleteVisit({ id: "earlier", caseId: "a" });
    expect((await readCase("a"))!.visits).toHaveLength(1);
    await deleteCase("a");
    expect(await readCase("a")).toBeNull();
    expect((await listCases()).cases.flatMap(({ visits }) => visits).map(({ caseId }) => caseId)).toEqual(["b"]);
    await deleteEverything();
    expect(await listCases()).toEqual({ cases: [], damaged: 0 });
  });

  test("are found by every word, in either language", () => {
    const all = [oneCase("a", "Mole on the arm", ["2024-02-01"]), oneCase("b", "Spot", ["2024-05-01"])].map(
      ({ visits, ...one }) => ({ ...one, visits: visits.map(briefOf) }),
    );
    const find = (query: string): string[] => searchCases(all, query, () => "Left forearm").map(({ id }) => id);
    expect(find("")).toEqual(["a", "b"]);
    expect(find("MOLE")).toEqual(["a"]);
    expect(find("forearm nevus larger")).toEqual(["a", "b"]);
    expect(find("黑色素细胞痣 2024-05")).toEqual(["b"]);
    expect(find("mole 2024-05")).toEqual([]);
  });
});

describe("export and import", () => {
  test("give back the same cases, images included", async () => {
    const before = [oneCase("a", "Arm", ["2024-02-01", "2024-03-01"]), oneCase("b", "“Back” \n 背", ["2024-05-01"])];
    const after = await importCases(await exportCases(before));
    const plain = (cases: CaseWithVisits[]): unknown => JSON.parse(JSON.stringify(cases));
    expect(plain(after)).toEqual(plain(before));
    const image = after[0].visits[1].photos[0].image;
    expect(image.type).toBe("image/jpeg");
    expect(new Uint8Array(await image.arrayBuffer())).toEqual(JPEG);
  });

  test("an empty notebook", async () => {
    expect(await importCases(await exportCases([]))).toEqual([]);
  });

  test("what is no notebook, or not a whole one, changes nothing and is told", async () => {
    const text = await (await exportCases([oneCase("a", "Arm", ["2024-02-01"])])).text();
    const altered = (from: string, to: string): Blob => {
      expect(text).toContain(from);
      return new Blob([text.replace(from, to)]);
    };
    const keyOf = (blob: Blob): Promise<unknown> =>
      importCases(blob).then(
        () => null,
        (error: { key: string }) => error.key,
      );
    expect(await keyOf(new Blob([text.slice(0, -40)]))).toBe("importNotJson");
    expect(await keyOf(new Blob(["[1, 2]"]))).toBe("importNotNotebook");
    expect(await keyOf(altered("lentigo-notebook", "other"))).toBe("importNotNotebook");
    expect(await keyOf(altered('"version":1', '"version":2'))).toBe("importNewer");
    expect(await keyOf(altered("data:image/jpeg;base64,", "https://example.org/"))).toBe("importInvalid");
    expect(await keyOf(altered("data:image/jpeg;base64,", "data:image/jpeg;base64,A"))).toBe("importInvalid");
    expect(await keyOf(altered('"date":"2024-02-01"', '"date":"yesterday"'))).toBe("importInvalid");
  });
});

describe("a date without a model's answer", () => {
  const photo = (id: string) => ({
    id,
    image: new Blob([JPEG], { type: "image/jpeg" }),
    width: 4,
    height: 3,
    probabilities: [],
    reasons: [],
    cam: null,
  });
  const plain = (...photos: string[]) => {
    const one = { ...plainVisit("a", "2024-08-01"), id: "p", note: "by eye", photos: photos.map(photo) };
    return { ...oneCase("a", "Arm", ["2024-02-01"]), visits: [...oneCase("a", "Arm", ["2024-02-01"]).visits, one] };
  };

  test("is kept, listed, found, exported and imported, and claims no answer", async () => {
    await mergeIntoNotebook(await importCases(await exportCases([plain("x")])));
    const [one] = (await listCases()).cases;
    expect(one.visits.map(({ evidence, model }) => [evidence === null, model?.title])).toEqual([
      [false, "Alpha"],
      [true, undefined],
    ]);
    expect(searchCases([one], "by eye", () => "")).toHaveLength(1);
    expect((await readCase("a"))!.visits[1]).toMatchObject({
      model: null,
      classes: [],
      photos: [{ id: "x", width: 4 }],
    });
    const record = await fhirRecord({ patient: null, lesions: [plain("x")], sheets: [], placeName: () => "arm" });
    const answers = record.entry.filter(({ resource }) => JSON.stringify(resource).includes("model-answer"));
    expect(answers).toHaveLength(1);
  });

  test("keeps photographs that either side of an import has, and what another tab wrote meanwhile", async () => {
    await mergeIntoNotebook([plain("x", "y")]);
    await mergeIntoNotebook([plain("y", "z")]);
    expect((await readCase("a"))!.visits[1].photos.map(({ id }) => id)).toEqual(["x", "y", "z"]);
    await changeVisit("p", () => ({ date: "2023-01-01" }));
    expect((await listCases()).cases[0].visits[0]).toMatchObject({ id: "p", date: "2023-01-01" });
    const drawn = bare((await readCase("a"))!);
    await changeCase("a", (kept) => ({ ...kept, note: "from another tab" }));
    await saveVisit(drawn, { ...plainVisit("a", "2024-09-01"), id: "q" });
    expect((await readCase("a"))!.note).toBe("from another tab");
    await expect(changeVisit("gone", () => ({}))).rejects.toMatchObject({ key: "recordGone" });
    await expect(changeCase("gone", (kept) => kept)).rejects.toMatchObject({ key: "recordGone" });
  });
});

test("an answer about another kind of photograph is none in FHIR either", async () => {
  const recordOf = async (taken: NonNullable<Visit["taken"]>): Promise<string> => {
    const one = caseOf("a", "Arm", [{ ...visit("v", "2024-02-01"), domain: "dermoscopy", taken }]);
    return JSON.stringify(await fhirRecord({ patient: null, lesions: [one], sheets: [], placeName: () => "arm" }));
  };
  expect(await recordOf("dermatoscope")).toContain("malignant-line");
  expect(await recordOf("camera")).toContain("Can't tell");
  expect(await recordOf("camera")).not.toContain("malignant-line");
});

test("an import with more probabilities than classes is refused, and hides nothing where it is already here", async () => {
  const wrong = oneCase("w", "Wrong", ["2024-02-01"]);
  wrong.visits[0].probabilities.push(0.5);
  await expect(importCases(await exportCases([wrong]))).rejects.toMatchObject({ key: "importInvalid" });
  await mergeIntoNotebook([oneCase("a", "Arm", ["2024-02-01"]), wrong]);
  expect((await readCase("w"))!.visits).toEqual([]);
  expect((await listCases()).cases).toHaveLength(2);
});

test.each([
  { shape: [2, 2, 2], values: [0, 1] },
  { shape: [-1, -1, 2], values: [0, 1] },
])("an import with a heat map of another size than it says is refused", async (cam) => {
  const wrong = oneCase("w", "Wrong", ["2024-02-01"]);
  wrong.visits[0].photos[0].cam = cam as never;
  await expect(importCases(await exportCases([wrong]))).rejects.toMatchObject({ key: "importInvalid" });
});

describe("an import is merged", () => {
  const here = oneCase("a", "Arm", ["2024-02-01"]);

  test("an older export loses no newer note; what it says is kept beside it", async () => {
    await mergeIntoNotebook([here]);
    await changeCase("a", (kept) => ({ ...kept, note: "it has grown" }));
    const { updated } = (await readCase("a"))!;
    const older = { ...here, note: "first note", updated: "2024-03-01T00:00:00.000Z" };
    expect(await mergeIntoNotebook([older])).toEqual({ added: 0, updated: 1, unchanged: 0, conflicts: 1 });
    const after = (await readCase("a"))!;
    expect(after.note).toBe("it has grown");
    expect(after.updated).toBe(updated);
    expect(after.conflicts).toEqual([{ updated: older.updated, title: "Arm", site: here.site, note: "first note" }]);
    expect(await mergeIntoNotebook([older])).toMatchObject({ updated: 0, unchanged: 1 }); // once is enough
    expect((await readCase("a"))!.conflicts).toHaveLength(1);
  });

  test("a newer one wins, and what was here is kept", async () => {
    await mergeIntoNotebook([{ ...here, note: "mine" }]);
    await mergeIntoNotebook([{ ...here, note: "theirs", updated: "2025-01-01T00:00:00.000Z" }]);
    const after = (await readCase("a"))!;
    expect([after.note, after.conflicts?.map(({ note }) => note)]).toEqual(["theirs", ["mine"]]);
  });

  test("dates are joined, and none is lost on either side", async () => {
    await mergeIntoNotebook([oneCase("a", "Arm", ["2024-02-01", "2024-04-01"])]);
    const imported = oneCase("a", "Arm", ["2024-02-01", "2024-03-01"]);
    imported.visits[0].note = "another note";
    await mergeIntoNotebook([imported]);
    const after = (await readCase("a"))!;
    expect(after.visits.map(({ date }) => date)).toEqual(["2024-02-01", "2024-03-01", "2024-04-01"]);
    expect(after.visits[0].note).toBe("slightly larger");
    expect(after.conflicts).toEqual([{ updated: imported.updated, visitId: "a-2024-02-01", note: "another note" }]);
  });

  test("of a date that is on both sides the version written last wins, outline and scale too; the other is kept", async () => {
    const SQUARE = [0, 1, 2, 3].map((i) => ({ x: 10 * (i >> 1), y: 10 * (((i + 1) >> 1) & 1) }));
    const measure = (mmPerPixel: number, shapes = [SQUARE]): Measure => ({
      ...{ target: "dark", shapes, proposed: false },
      scale: { source: "ruler", mmPerPixel, relativeError: 0.02 },
    });
    const version = (date: string, edited: string, mmPerPixel: number, updated = edited): CaseWithVisits => {
      const one = oneCase("a", "Arm", ["2024-02-01"]);
      const [first] = one.visits;
      first.photos[0].measure = measure(mmPerPixel);
      return { ...one, updated, visits: [{ ...first, date, note: `seen on ${date}`, edited }] };
    };
    const [early, late] = ["2024-05-01T00:00:00.000Z", "2024-06-01T00:00:00.000Z"];
    const [older, newer] = [version("2024-02-01", early, 0.05), version("2024-02-03", late, 0.08)];
    const lost = {
      ...{ updated: early, visitId: "a-2024-02-01", date: "2024-02-01", note: "seen on 2024-02-01" },
      measures: [{ photo: 0, measure: measure(0.05) }],
    };
    for (const [here, file] of [
      [older, newer],
      [newer, older],
      // Something else of the lesion was written here later: that makes this date no newer.
      [{ ...older, updated: "2024-09-01T00:00:00.000Z" }, newer],
      // Files of versions that do not say when a date was written: the lesion's own time stands for it.
      [older, { ...newer, visits: newer.visits.map(({ edited: _, ...rest }) => rest) }],
    ]) {
      await deleteEverything();
      await mergeIntoNotebook([here]);
      await mergeIntoNotebook(await importCases(await exportCases([file])));
      const { visits, conflicts } = (await readCase("a"))!;
      expect(visits).toMatchObject([{ date: "2024-02-03", note: "seen on 2024-02-03" }]);
      expect(visits[0].photos[0].measure).toEqual(measure(0.08));
      expect(conflicts).toEqual([lost]);
    }
    // Both are exported, the same again changes nothing, and the other version can be taken over.
    const [one] = await importCases(await exportCases([(await readCase("a"))!]));
    expect(await mergeIntoNotebook([one])).toMatchObject({ updated: 0, unchanged: 1 });
    await settleConflict("a", (await readCase("a"))!.conflicts![0], true);
    const settled = (await readCase("a"))!;
    expect(settled.conflicts).toBeUndefined();
    expect(settled.visits).toMatchObject([{ date: "2024-02-01", note: "seen on 2024-02-01" }]);
    expect(settled.visits[0].photos[0].measure).toEqual(measure(0.05));
    expect(await mergeIntoNotebook([newer])).toMatchObject({ updated: 1, conflicts: 1 }); // the choice is the newest
    expect((await readCase("a"))!.visits[0].date).toBe("2024-02-01");
  });

  test("a date that is written leaves the age of the lesion's own fields as it was", async () => {
    await mergeIntoNotebook([here]);
    await changeVisit("a-2024-02-01", () => ({ note: "another date's note" }));
    await mergeIntoNotebook([{ ...here, title: "Left arm", updated: "2024-03-01T00:00:00.000Z" }]);
    const after = (await readCase("a"))!;
    expect([after.title, after.conflicts?.[0].title]).toEqual(["Left arm", "Arm"]);
    expect(after.visits[0].note).toBe("another date's note");
  });

  test("a conflict is settled by taking it over or dropping it", async () => {
    await mergeIntoNotebook([{ ...here, note: "mine", updated: "2024-07-01T00:00:00.000Z" }]);
    await mergeIntoNotebook([{ ...here, note: "theirs" }]);
    let one = (await readCase("a"))!;
    await settleConflict("a", (await readCase("a"))!.conflicts![0], true);
    one = (await readCase("a"))!;
    expect([one.note, one.conflicts]).toEqual(["theirs", undefined]);
    await mergeIntoNotebook([{ ...here, note: "third" }]); // older than the choice
    one = (await readCase("a"))!;
    await settleConflict("a", one.conflicts![0], false);
    one = (await readCase("a"))!;
    expect([one.note, one.conflicts]).toEqual(["theirs", undefined]);
  });

  test("the same again changes nothing", async () => {
    await mergeIntoNotebook([here]);
    expect(await mergeIntoNotebook(await importCases(await exportCases([here])))).toEqual({
      added: 0,
      updated: 0,
      unchanged: 1,
      conflicts: 0,
    });
  });
});

test("a full device is told in words", () => {
  expect(storageError(new DOMException("full", "QuotaExceededError"))).toMatchObject({ key: "storageFull" });
  expect(storageError(new DOMException("odd", "DataError"))).toMatchObject({ key: "storageFailed" });
});
