import "fake-indexeddb/auto";
import { beforeEach, describe, expect, test } from "vitest";
import {
  type CaseWithVisits,
  deleteCase,
  deleteEverything,
  deleteVisit,
  listCases,
  putCases,
  readCase,
  saveVisit,
} from "../src/notebook/cases";
import { storageError } from "../src/notebook/database";
import { searchCases } from "../src/notebook/search";
import { exportCases, importCases } from "../src/notebook/transfer";
import type { Visit } from "../src/notebook/types";
import { bytesOf, PHOTOS } from "./fixtures";

const JPEG = bytesOf(PHOTOS, "mel.jpg");

function visit(id: string, caseId: string, date: string): Visit {
  return {
    id,
    caseId,
    date,
    note: "slightly larger",
    photos: [
      {
        image: new Blob([JPEG], { type: "image/jpeg" }),
        width: 400,
        height: 300,
        probabilities: [0.25, 0.75],
        reasons: [],
        cam: { shape: [2, 1, 1], values: [0.5, 1] },
      },
    ],
    classes: [
      { code: "mel", en: "melanoma", zh: "黑色素瘤", malignant: true },
      { code: "nv", en: "melanocytic nevus", zh: "黑色素细胞痣", malignant: false },
    ],
    probabilities: [0.25, 0.75],
    malignant: 0.25,
    operatingPoint: { name: "sensitivity-95", threshold: 0.2 },
    abstained: false,
    model: { name: "alpha", version: "1", title: "Alpha", digest: "0".repeat(64) },
    created: `${date}T10:00:00.000Z`,
  };
}

function oneCase(id: string, title: string, dates: string[]): CaseWithVisits {
  return {
    id,
    title,
    site: { region: "left.forearm", view: "front", x: 0.7, y: 0.4 },
    note: "",
    created: "2024-01-01T00:00:00.000Z",
    updated: `${dates.at(-1)}T10:00:00.000Z`,
    visits: dates.map((date) => visit(`${id}-${date}`, id, date)),
  };
}

beforeEach(async () => {
  await deleteEverything();
});

describe("cases", () => {
  test("are saved, listed by change, read with their dates in order, and deleted with them", async () => {
    const first = oneCase("a", "Arm", ["2024-02-01"]);
    await putCases([first, oneCase("b", "Back", ["2024-05-01"])]);
    const { visits: _, ...bare } = first;
    await saveVisit({ ...bare, updated: "2024-06-01T00:00:00.000Z" }, visit("earlier", "a", "2023-12-01"));
    expect((await listCases()).map(({ id }) => id)).toEqual(["a", "b"]);
    expect((await readCase("a"))!.visits.map(({ date }) => date)).toEqual(["2023-12-01", "2024-02-01"]);
    await deleteVisit("earlier");
    expect((await readCase("a"))!.visits).toHaveLength(1);
    await deleteCase("a");
    expect(await readCase("a")).toBeNull();
    expect((await listCases()).flatMap(({ visits }) => visits).map(({ caseId }) => caseId)).toEqual(["b"]);
    await deleteEverything();
    expect(await listCases()).toEqual([]);
  });

  test("are found by every word, in either language", () => {
    const all = [oneCase("a", "Mole on the arm", ["2024-02-01"]), oneCase("b", "Spot", ["2024-05-01"])];
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
    expect(await keyOf(altered('"date":"2024-02-01"', '"date":"yesterday"'))).toBe("importInvalid");
  });
});

test("a full device is told in words", () => {
  expect(storageError(new DOMException("full", "QuotaExceededError"))).toMatchObject({ key: "storageFull" });
  expect(storageError(new DOMException("odd", "DataError"))).toMatchObject({ key: "storageFailed" });
});
