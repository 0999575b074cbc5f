import { describe, expect, test } from "vitest";
import { classMap, colourise, enlarge } from "../src/core/heatmap";
import { argmax, malignantShare, meanOf, predictionSet, softmax } from "../src/core/probabilities";
import { hintsFor, luma, measureQuality, meanDifference } from "../src/core/quality";
import { parseSpec } from "../src/core/spec";
import { createScorer, energy } from "../src/core/trust";
import { BUNDLES, expected, textOf } from "./fixtures";

const spec = parseSpec(textOf(BUNDLES, "alpha", "spec.json"));

describe("probabilities", () => {
  test.each(Object.entries(expected))("softmax of %s is Python's", (_, { logits, probabilities }) => {
    const ours = softmax(logits, spec.temperature);
    ours.forEach((p, i) => expect(p).toBeCloseTo(probabilities[i], 12));
  });

  test("softmax does not overflow", () => {
    expect(softmax([1000, 0, -1000], 1)).toEqual([1, 0, 0]);
  });

  test("the mean of several photographs, and the first of equals", () => {
    expect(
      meanOf([
        [1, 0],
        [0.5, 0.5],
      ]),
    ).toEqual([0.75, 0.25]);
    expect(argmax([0.4, 0.4, 0.2])).toBe(0);
  });

  test("the malignant share is the sum over the malignant classes, where all are known", () => {
    const classes = [true, false, true].map((malignant, i) => ({ code: `c${i}`, en: "", zh: "", malignant }));
    expect(malignantShare([0.2, 0.5, 0.3], classes)).toBeCloseTo(0.5);
    expect(malignantShare([0.2, 0.5, 0.3], [...classes.slice(0, 2), { ...classes[2], malignant: null }])).toBeNull();
  });

  test("the prediction set holds what reaches its threshold, the likeliest first", () => {
    const quantiles = Object.fromEntries(spec.classes.map(({ code }) => [code, 0.8]));
    const conformal = { ...spec, conformal: { coverage: 0.9, quantiles } };
    expect(predictionSet([0.3, 0.1, 0.02, 0.02, 0.5, 0.03, 0.03], conformal)).toEqual([4, 0]);
    expect(predictionSet([0.15, 0.15, 0.14, 0.14, 0.14, 0.14, 0.14], conformal)).toEqual([]);
    expect(predictionSet([1, 0, 0, 0, 0, 0, 0], { ...spec, conformal: null })).toBeNull();
  });
});

describe("abstention", () => {
  test.each(Object.entries(expected))("energy of %s is Python's", (_, one) => {
    expect(energy(one.logits)).toBeCloseTo(one.energy, 10);
  });

  test("fires above the threshold only", () => {
    const scorer = createScorer(spec);
    expect(scorer(expected["mel.jpg"].logits, [])).toEqual([]);
    expect(scorer(expected["green.png"].logits, [])).toMatchObject([{ key: "unlike" }]);
  });

  test("a bundle without a threshold never abstains", () => {
    expect(createScorer({ ...spec, abstention: null })([0, 0, 0, 0, 0, 0, 0], [])).toEqual([]);
  });

  test("a score that this app cannot compute is refused, never passed over", () => {
    const abstention = { ...spec.abstention!, score: "knn" as const };
    expect(() => createScorer({ ...spec, abstention })).toThrowError("bundleNewScore");
  });
});

describe("heat maps", () => {
  const cam = { shape: [2, 2, 2], values: new Float32Array([0, 0, 0, 0, 0, 2, 0, 4]) };

  test("the map of a class, enlarged with its peak at one", () => {
    const large = enlarge(classMap(cam, 1), 8);
    expect(large[7 * 8 + 7]).toBe(1);
    expect(large[7]).toBeCloseTo(0.5);
    expect(large[0]).toBe(0);
    expect(large[3 * 8 + 7]).toBeGreaterThan(large[7]);
  });

  test("an empty map stays empty and transparent", () => {
    const large = enlarge(classMap(cam, 0), 4);
    expect(Math.max(...large)).toBe(0);
    expect([...colourise(large)].filter((_, i) => i % 4 === 3).every((alpha) => alpha === 0)).toBe(true);
  });

  test("hot is bright and opaque, cold is dark and transparent", () => {
    const [r0, g0, b0, a0, r1, g1, b1, a1] = colourise(new Float32Array([0, 1]));
    expect(a0).toBe(0);
    expect(a1).toBe(255);
    expect(r1 + g1 + b1).toBeGreaterThan(r0 + g0 + b0 + 300);
  });
});

describe("quality", () => {
  const SIDE = 64;
  const paint = (value: (x: number, y: number) => number): Float32Array =>
    Float32Array.from({ length: SIDE * SIDE }, (_, i) => value(i % SIDE, Math.floor(i / SIDE)));
  const keys = (grey: Float32Array): string[] => hintsFor(measureQuality(grey, SIDE)).map((hint) => hint.key);
  const checks = (x: number, y: number): number => ((x >> 3) + (y >> 3)) % 2;

  test("a sharp picture in good light gets no hint", () => {
    expect(keys(paint((x, y) => 90 + 80 * checks(x, y)))).toEqual([]);
  });
  test("dark, bright, flat and blurred are told apart", () => {
    expect(keys(paint((x, y) => 10 + 40 * checks(x, y)))).toEqual(["dark"]);
    expect(keys(paint((x, y) => 215 + 40 * checks(x, y)))).toEqual(["bright"]);
    expect(keys(paint(() => 128))).toEqual(["flat"]);
    expect(keys(paint((x) => 128 + 60 * Math.sin(x / 16)))).toEqual(["blurred"]);
  });
  test("luma and movement", () => {
    expect([...luma([255, 255, 255, 0, 255, 0])]).toEqual([255, expect.closeTo(149.685, 2)]);
    expect([...luma([0, 0, 0, 255], 4)]).toEqual([0]);
    expect(meanDifference(new Float32Array([1, 2]), new Float32Array([3, 2]))).toBe(1);
  });
});
