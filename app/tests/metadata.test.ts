// @vitest-environment happy-dom

import { afterEach, describe, expect, test } from "vitest";
import { NO_EDIT } from "../src/core/geometry";
import { heldOf, type Known, logRatios, reweigh, usedBy } from "../src/core/metadata";
import { predictionSet } from "../src/core/probabilities";
import { parseSpec, type Spec } from "../src/core/spec";
import { fhirRecord } from "../src/fhir/record";
import { newVisit } from "../src/notebook/record";
import { exportCases, importCases } from "../src/notebook/transfer";
import { visitVerdict } from "../src/notebook/verdict";
import { capture, model } from "../src/state/models";
import { operatingPoint } from "../src/state/operating";
import { answer, clearSession, known, photos, tell, tellPlace, words } from "../src/state/session";
import { onlySite } from "../src/ui/body";
import { verdictSentences, visitFacts } from "../src/ui/Verdict";
import { BUNDLES, FIXTURES, textOf } from "./fixtures";

/** What Python makes of age, sex and site (make_fixtures.py). */
const python = JSON.parse(textOf(FIXTURES, "metadata.json")) as {
  metadata: NonNullable<Spec["metadata"]>;
  cases: {
    known: Known;
    probabilities: number[];
    after: number[];
    reached: Record<string, boolean>;
    set: string[];
  }[];
};
const plain = parseSpec(textOf(BUNDLES, "alpha", "spec.json"));
const spec: Spec = { ...plain, domain: "dermoscopy", metadata: python.metadata };

describe("as in Python", () => {
  test.each(python.cases)("$known", ({ known: told, probabilities, after, reached, set }) => {
    const ratios = logRatios(spec.metadata, told);
    reweigh(probabilities, ratios).forEach((p, k) => expect(p).toBeCloseTo(after[k], 12));
    const held = heldOf(probabilities, ratios, spec.classes)!;
    for (const { name, threshold } of spec.operating_points) expect(held >= threshold, name).toBe(reached[name]);
    expect(predictionSet(probabilities, spec)!.map((k) => spec.classes[k].code)).toEqual(set);
  });
});

test("what is missing, not known to the model or no age changes nothing", () => {
  for (const told of [
    {},
    { age: "" },
    { age: "-1" },
    { age: "131" },
    { age: "old" },
    { age: "55" },
    { site: "elbow" },
  ]) {
    expect([logRatios(spec.metadata, told), usedBy(spec, told)]).toEqual([null, {}]);
  }
  expect(logRatios(plain.metadata, { age: "64" })).toBeNull();
});

test("a part of the body map is the model's own site", () => {
  expect(logRatios(spec.metadata, { site: "upperBack" })).toEqual(python.metadata.log_ratios["site"]["back"]);
  expect(logRatios(spec.metadata, { site: "nape" })).toEqual(python.metadata.log_ratios["site"]["neck"]);
});

test("a model's place is a region of the body map where it is one, and never two that disagree", () => {
  expect(["face", "nose", "abdomen"].map((told) => onlySite(told)?.region)).toEqual(["face", "face", "abdomen"]);
  expect(["back", "hand", "elbow", undefined].map(onlySite)).toEqual([null, null, null, null]); // several, or none
  known.value = { site: "nose" };
  tellPlace(onlySite("face"));
  expect(known.value).toEqual({ site: "nose" });
  tellPlace(onlySite("chest"));
  expect(known.value).toEqual({ site: "chest" });
  words.value = { target: "", title: "", site: onlySite("chest"), note: "", date: "" };
  tell("site", "trunk");
  expect(words.value.site!.region).toBe("chest");
  tell("site", "face");
  expect(words.value.site).toBeNull();
  clearSession();
});

test("one ratio a class, or the bundle is refused", () => {
  const broken = JSON.parse(textOf(BUNDLES, "alpha", "spec.json")) as Record<string, unknown>;
  broken["metadata"] = { log_ratios: { age: { 0: [0.1] } }, groups: { age: 1 } };
  expect(() => parseSpec(JSON.stringify(broken))).toThrow("bundleInvalid");
});

describe("concern is raised and never lowered", () => {
  const MALIGNANT = spec.classes.map(({ malignant }) => (malignant === true ? 1 : -1));
  const entry = { id: "a", origin: "packaged" as const, digest: "0", domain: spec.domain } as never;
  const tellOnly = (sign: number): Spec => ({
    ...spec,
    metadata: { log_ratios: { site: { back: MALIGNANT.map((one) => 2 * sign * one) } }, groups: { site: 1 } },
  });
  /** The answer about a photograph, and the one of the date that is kept of it. */
  const answered = async (of: Spec, probabilities: number[]) => {
    capture.value = "dermatoscope";
    model.value = { kind: "ready", entry, spec: of, card: "" };
    const picture = { close: () => undefined };
    const analysis = { probabilities, reasons: [], hints: [], cam: null, picture } as never;
    photos.value = [{ id: 1, name: "a", blob: new Blob(), edit: NO_EDIT, analysed: NO_EDIT, model: "0", analysis }];
    const now = answer.value!;
    const made = { caseId: "c", date: "2026-01-01", note: "", photos: [], answer: now, spec: of, entry, values: null };
    const point = operatingPoint(of);
    const visit = await newVisit({ ...made, operatingPoint: point, concerns: [], known: known.value, taken: null });
    const photo = { image: new Blob(), width: 1, height: 1, probabilities, reasons: [], cam: null };
    return { now, kept: { ...visit, photos: [photo] } };
  };
  afterEach(clearSession);

  const SUSPECT = spec.classes.map(({ malignant }) => (malignant === true ? 0.15 : 0.55 / 4));
  const CALM = spec.classes.map(({ malignant }) => (malignant === true ? 0.02 : 0.94 / 4));
  const total = spec.classes.filter(({ malignant }) => malignant === true).length;
  const norm = (values: number[]) => values.map((p) => p / values.reduce((sum, one) => sum + one, 0));

  test("a photograph above the line stays above it, live and kept, whatever age and site say", async () => {
    known.value = { site: "back" };
    const { now, kept } = await answered(tellOnly(-1), norm(SUSPECT));
    expect(now.beside!.both).toBeLessThan(0.05);
    expect([now.verdict.kind, visitVerdict(kept)!.kind]).toEqual(["above", "above"]);
    expect(now.malignant).toBeCloseTo(norm(SUSPECT)[0] * total, 9);
    const said = verdictSentences(now.verdict, visitFacts(kept)).join(" ");
    expect(said).toMatch(/photograph alone \d+\s%; with Back \d\s%. The higher/);
  });

  test("one below it is raised above, and the prediction set is the image's", async () => {
    const before = await answered(tellOnly(1), norm(CALM));
    expect([before.now.verdict.kind, before.now.beside]).toEqual(["below", null]);
    expect(before.now.probabilities).toEqual(norm(CALM));
    known.value = { site: "back" };
    const { now, kept } = await answered(tellOnly(1), norm(CALM));
    expect([now.verdict.kind, visitVerdict(kept)!.kind]).toEqual(["above", "above"]);
    expect(now.set).toEqual(before.now.set);
    expect(kept.beside!.known).toEqual({ site: "back" });
    // It leaves the app with the date, and comes back with it.
    const lesion = { id: "c", title: "t", site: null, note: "", created: kept.created, updated: kept.created };
    const lesions = [{ ...lesion, visits: [kept] }];
    const fhir = JSON.stringify(await fhirRecord({ patient: null, lesions, sheets: [], placeName: () => "" }));
    expect(fhir).toContain("Class probabilities take into account: site back.");
    const image = new Blob([new Uint8Array([1])], { type: "image/jpeg" });
    const whole = { ...kept, photos: [{ ...kept.photos[0], image }] };
    const [{ visits }] = await importCases(await exportCases([{ ...lesion, visits: [whole] }]));
    expect(visits[0].beside).toEqual(kept.beside);
  });
});
