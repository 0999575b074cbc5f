// @vitest-environment happy-dom

import { describe, expect, test } from "vitest";
import { argmax, malignantProbability } from "../src/core/probabilities";
import { parseSpec, type Spec } from "../src/core/spec";
import {
  concernOf,
  CONCERNS,
  decide,
  type Evidence,
  fits,
  isAnswer,
  looksDifferent,
  predictiveValues,
  type Verdict,
} from "../src/core/verdict";
import { earlierAlarm, visitVerdict } from "../src/notebook/verdict";
import type { Visit } from "../src/notebook/types";
import { verdictInWords, verdictSentences, verdictTitle } from "../src/ui/Verdict";
import { BUNDLES, textOf } from "./fixtures";
import { photoOf } from "./records";

const spec = parseSpec(textOf(BUNDLES, "alpha", "spec.json"));
const POINT = { name: "sensitivity_90", threshold: 0.2, sensitivity: 0.904, specificity: 0.612 };

// Benign keratosis leads with 36 %, the malignant classes together have 44 %.
const BENIGN_LEADS = [0.12, 0.12, 0.36, 0.1, 0.2, 0.08, 0.02];

function evidence(change: Partial<Evidence> = {}): Evidence {
  return {
    malignant: 0.05,
    each: [0.05],
    threshold: 0.2,
    abstained: false,
    reasons: [],
    concerns: [],
    madeFor: "dermoscopy",
    taken: "dermatoscope",
    ...change,
  };
}

describe("the verdict", () => {
  test("a benign class that leads never hides an alarm, in any of the words", () => {
    const malignant = malignantProbability(BENIGN_LEADS, spec.classes)!;
    expect(spec.classes[argmax(BENIGN_LEADS)].malignant).toBe(false);
    const verdict = decide(evidence({ malignant, each: [malignant] }));
    expect(verdict.kind).toBe("above");
    expect(verdictTitle(verdict)).toBe("Above the line for malignant classes");
    const spoken = verdictInWords(verdict, { malignant, point: POINT });
    expect(spoken).toMatch(/^Above the line for malignant classes\. .*44\s%; the line is at 20\s%/);
    expect(spoken).not.toContain("eratosis");
    expect(spoken).toContain("Not a diagnosis");
  });

  test("for every split of probabilities, above the line is said exactly from the line on", () => {
    for (let malignant = 0; malignant <= 100; malignant++) {
      const { kind } = decide(evidence({ malignant: malignant / 100, each: [malignant / 100] }));
      expect(kind, String(malignant)).toBe(malignant >= 20 ? "above" : "below");
    }
  });

  test("a photograph above the line is not averaged away", () => {
    expect(decide(evidence({ malignant: 0.15, each: [0.02, 0.28] }))).toMatchObject({
      kind: "unsure",
      doubt: "disagree",
    });
    expect(decide(evidence({ malignant: 0.15, each: [0.12, 0.18] })).kind).toBe("below");
    const mixed = decide(evidence({ malignant: 0.3, each: [0.1, 0.5] }));
    expect(verdictInWords(mixed, { malignant: 0.3, point: POINT })).toContain("some of them are below it");
    const alike = decide(evidence({ malignant: 0.3, each: [0.3, 0.3] }));
    expect(verdictInWords(alike, { malignant: 0.3, point: POINT })).not.toContain("disagree");
  });

  test.each([
    ["a model for dermatoscopes and a plain camera", { taken: "camera" }, "otherKind"],
    ["a model for plain cameras and a dermatoscope", { madeFor: "clinical" }, "otherKind"],
    ["a model that abstains", { abstained: true, reasons: [{ key: "unlike" }] }, "abstained"],
    ["classes of unknown malignancy", { malignant: null, each: [null] }, "noMalignancy"],
    ["a model without a line", { threshold: null }, "noLine"],
    ["photographs of different lesions", { differ: true }, "different"],
    ["something that the person answered", { concerns: ["bleeding"] }, "concern"],
  ] as const)("can't tell: %s", (_, change, doubt) => {
    expect(decide(evidence(change as Partial<Evidence>))).toMatchObject({ kind: "unsure", doubt });
  });

  test("a malignant class that remains in the prediction set is named below the line", () => {
    const facts = (...codes: string[]) => ({
      malignant: 0.05,
      point: POINT,
      set: { classes: spec.classes.filter(({ code }) => codes.includes(code)), coverage: 0.9 },
    });
    const below = decide(evidence());
    expect(verdictInWords(below, facts("nv", "mel"))).toMatch(/At 90\s% coverage malignant classes remain: Melanoma\./);
    expect(verdictInWords(below, facts("nv"))).not.toContain("remain");
  });

  test("different lesions get no verdict together, unless they are above the line", () => {
    expect(decide(evidence({ differ: true, malignant: 0.5, each: [0.5, 0.5] })).kind).toBe("above");
    expect(isAnswer(decide(evidence({ differ: true })))).toBe(false);
  });

  test("what the person answers raises concern and never lowers it", () => {
    const cases: Partial<Evidence>[] = [
      {},
      { malignant: 0.9, each: [0.9] },
      { abstained: true },
      { threshold: null },
      { malignant: null },
      { taken: "camera" },
      { each: [0.5] },
    ];
    for (const change of cases) {
      const without = concernOf(decide(evidence(change)));
      for (const concern of CONCERNS) {
        const verdict = decide(evidence({ ...change, concerns: [concern] }));
        expect(concernOf(verdict)).toBeGreaterThanOrEqual(Math.max(without, 1));
        const [sentence] = verdictSentences(verdict, { malignant: 0.05, point: POINT }).filter((text) =>
          text.startsWith("What you answered"),
        );
        expect(sentence).toContain("show the lesion to a doctor");
      }
    }
  });

  test("drawn images and unknown answers fit every model", () => {
    expect(fits("phantom", "camera")).toBe(true);
    expect(fits("dermoscopy", null)).toBe(true);
    expect(fits(null, "camera")).toBe(true);
  });

  test("predictive values are those of counted lesions, as in Python", () => {
    // Of 10,000 lesions 200 are malignant: 180 found, 20 missed; of 9,800 others 2,940 above the line, 6,860 below.
    const measured = (sensitivity: object, specificity: object): Spec => ({
      ...spec,
      metrics: { "test at sensitivity_90": { sensitivity, specificity } } as unknown as Spec["metrics"],
    });
    const rate = (value: number, low: number | null = null, high: number | null = null) => ({ value, low, high });
    const found = predictiveValues(measured(rate(0.9, 0.8, 1), rate(0.7, 0.6, 0.8)), "sensitivity_90", 0.02)!;
    expect(found.ppv.value).toBeCloseTo(180 / 3120);
    expect(found.npv.value).toBeCloseTo(6860 / 6880);
    expect(found.ppv.low).toBeCloseTo(160 / (160 + 3920));
    expect(found.npv.high).toBe(1);
    expect(predictiveValues(measured(rate(0.9), rate(0.7)), "sensitivity_90", 0.02)!.ppv.low).toBeNull();
    expect(predictiveValues(measured(rate(1.5), rate(0.7)), "sensitivity_90", 0.02)).toBeNull();
    expect(predictiveValues(measured(rate(0), rate(1)), "sensitivity_90", 0.02)).toBeNull(); // nothing above the line
    expect(predictiveValues(spec, "sensitivity_90", 0.02)).toBeNull(); // no figures
    const said = (verdict: Verdict): string =>
      verdictSentences(verdict, { malignant: 0.4, point: POINT, values: found }).join(" ");
    expect(said({ kind: "above", concerns: [] })).toMatch(
      /Where 2\.0\s%.* of 100 lesions above .* about 6 \(4–9\) are/,
    );
    expect(said({ kind: "below" })).toMatch(/of 1000 lesions below this line about 3 \(0–7\) are malignant/);
    expect(said({ kind: "unsure", doubt: "disagree", reasons: [], concerns: [] })).not.toContain("are malignant");
  });

  test("what the line misses is said of 100 images", () => {
    const words = verdictSentences({ kind: "below" }, { malignant: 0.05, point: POINT }).join(" ");
    expect(words).toContain("Of 100 malignant images in validation about 10 lay below this line");
    expect(words).toContain("of 100 benign ones about 39 lay above it");
    const { threshold } = POINT;
    const old = verdictSentences({ kind: "below" }, { malignant: 0.05, point: { threshold } }).join(" ");
    expect(old).not.toContain("validation"); // older records do not hold the figures
  });
});

test("few are never called none, nor nearly all all", () => {
  const said = (kind: "above" | "below", sensitivity: number, specificity: number, npv: number): string =>
    verdictSentences(kind === "above" ? { kind, concerns: [] } : { kind }, {
      malignant: 0.05,
      point: { ...POINT, sensitivity, specificity },
      values: {
        prevalence: 0.001,
        ppv: { value: 0.002, low: 0.001, high: 0.003 },
        npv: { value: npv, low: npv - 0.001, high: 1 },
      },
    }).join(" ");
  expect(said("below", 0.998, 0.003, 0.9998)).toMatch(/about <1 lay below.* about >99 lay above/);
  expect(said("below", 0.9, 0.6, 0.9998)).toMatch(/of 1000 lesions below this line about <1 \(0–1\) are malignant/);
  expect(said("above", 0.9, 0.6, 0.9998)).toMatch(/of 100 lesions above this line about <1 \(<1–<1\) are malignant/);
  expect(said("below", 1, 0.6, 0.99)).toContain("about 0 lay below"); // as it was in validation
});

test("a lesion that was above the line is not listed as below it without a word", () => {
  const at = (date: string, malignant: number | null) => ({
    date,
    evidence: malignant === null ? null : evidence({ malignant, each: [malignant] }),
  });
  expect(earlierAlarm([at("2024-01-01", 0.5), at("2024-02-01", 0.3), at("2024-03-01", 0.1)])).toBe("2024-02-01");
  expect(earlierAlarm([at("2024-01-01", 0.5), at("2024-02-01", null), at("2024-03-01", 0.1)])).toBe("2024-01-01");
  expect(earlierAlarm([at("2024-01-01", 0.5), at("2024-02-01", 0.3)])).toBeNull(); // its last answer says so
  expect(earlierAlarm([at("2024-01-01", 0.5), at("2024-02-01", null)])).toBeNull();
  expect(earlierAlarm([at("2024-01-01", 0.1), at("2024-02-01", null)])).toBeNull();
});

describe("a kept visit", () => {
  const visit: Visit = {
    id: "v",
    caseId: "c",
    date: "2024-02-01",
    note: "",
    photos: [],
    classes: spec.classes,
    probabilities: BENIGN_LEADS,
    malignant: 0.44,
    operatingPoint: { name: "x", threshold: 0.2 },
    abstained: false,
    model: { name: "alpha", version: "1", title: "", digest: "" },
    created: "2024-02-01T00:00:00.000Z",
  };

  test("from before verdicts were kept is judged by the same rule", () => {
    expect(visitVerdict(visit)?.kind).toBe("above");
    expect(visitVerdict({ ...visit, malignant: 0.1 })?.kind).toBe("below");
    expect(visitVerdict({ ...visit, malignant: 0.1, photos: [photoOf(BENIGN_LEADS)] })).toMatchObject({
      doubt: "disagree",
    });
    expect(visitVerdict({ ...visit, malignant: 0.1, concerns: ["new"] })).toMatchObject({ doubt: "concern" });
    expect(visitVerdict({ ...visit, domain: "dermoscopy", taken: "camera" })).toMatchObject({ doubt: "otherKind" });
  });
});

describe("photographs of different lesions", () => {
  const seen = (probabilities: number[], set: number[] | null) => ({ probabilities, set });
  test("share no class of their prediction sets", () => {
    expect(looksDifferent([seen([0.9, 0.1], [0]), seen([0.2, 0.8], [1])])).toBe(true);
    expect(looksDifferent([seen([0.9, 0.1], [0]), seen([0.4, 0.6], [1, 0])])).toBe(false);
    expect(looksDifferent([seen([0.9, 0.1], [0])])).toBe(false);
  });
  test("or, without sets, are sure of different classes", () => {
    expect(looksDifferent([seen([0.9, 0.1], null), seen([0.2, 0.8], null)])).toBe(true);
    expect(looksDifferent([seen([0.6, 0.4], null), seen([0.2, 0.8], null)])).toBe(false);
  });
});
