import { describe, expect, test } from "vitest";
import { classMap, colourise, enlarge } from "../src/core/heatmap";
import { argmax, malignantProbability, meanOf, predictionSet, softmax } from "../src/core/probabilities";
import { findFault, luma, meanDifference, measureQuality, type Quality } from "../src/core/quality";
import { parseSpec } from "../src/core/spec";
import { assess } from "../src/core/abstention";
import { BUNDLES, expected, fromBase64, opaque, textOf } from "./fixtures";

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

  test("the malignant probability is the sum over the malignant classes, where all are known", () => {
    const classes = [true, false, true].map((malignant, i) => ({ code: `c${i}`, en: "", zh: "", malignant }));
    expect(malignantProbability([0.2, 0.5, 0.3], classes)).toBeCloseTo(0.5);
    expect(
      malignantProbability([0.2, 0.5, 0.3], [...classes.slice(0, 2), { ...classes[2], malignant: null }]),
    ).toBeNull();
  });

  test("the prediction set holds what reaches its threshold, the likeliest first", () => {
    const quantiles = Object.fromEntries(spec.classes.map(({ code }) => [code, 0.8]));
    const conformal = { ...spec, conformal: { coverage: 0.9, quantiles, pooled: [] } };
    expect(predictionSet([0.3, 0.1, 0.02, 0.02, 0.5, 0.03, 0.03], conformal)).toEqual([4, 0]);
    expect(predictionSet([0.15, 0.15, 0.14, 0.14, 0.14, 0.14, 0.14], conformal)).toEqual([]);
    expect(predictionSet([1, 0, 0, 0, 0, 0, 0], { ...spec, conformal: null })).toBeNull();
  });
});

describe("abstention", () => {
  const score = (atypicality: number | null) => ({ atypicality, modality: null });

  test.each(Object.entries(expected))("%s is assessed as in Python", (_, one) => {
    const pixels = fromBase64(one.pixels);
    const quality = measureQuality(pixels, spec.input.size);
    for (const [name, value] of Object.entries(one.quality)) {
      expect(Math.abs(quality[name as keyof Quality] - value)).toBeLessThan(1e-3 * Math.max(1, value));
    }
    const { reasons, hints } = assess(spec, score(one.atypicality), pixels);
    expect([reasons.length, hints.length]).toEqual([one.reasons, one.hints]);
  });

  test("fires above the threshold only", () => {
    const pixels = fromBase64(expected["mel.jpg"].pixels);
    const { threshold } = spec.abstention!;
    expect(assess(spec, score(threshold), pixels).reasons).toEqual([]);
    expect(assess(spec, score(threshold + 0.01), pixels).reasons).toEqual([
      { key: "unlike", score: threshold + 0.01, threshold },
    ]);
  });

  test.each([
    ["dermoscopy", [0, 1, 2], "clinical"],
    ["dermoscopy", [0, 2, 1], "other"],
    ["dermoscopy", [2, 1, 0], undefined],
    ["clinical", [2, 1, 0], "dermoscopy"],
    ["clinical", [0, 1, 2], undefined],
    ["phantom", [0, 1, 2], undefined],
  ] as const)("a model for %s names the kind of an image with the logits %j: %s", (domain, modality, kind) => {
    const pixels = fromBase64(expected["mel.jpg"].pixels);
    const { threshold } = spec.abstention!;
    const reasonsAt = (atypicality: number) => assess({ ...spec, domain }, { atypicality, modality }, pixels).reasons;
    expect(reasonsAt(threshold)).toEqual([]);
    expect(reasonsAt(threshold + 1).map((reason) => reason.kind)).toEqual([kind]);
  });

  test("a bundle without a threshold never abstains for being unlike", () => {
    expect(assess({ ...spec, abstention: null }, score(1e9), fromBase64(expected["mel.jpg"].pixels)).reasons).toEqual(
      [],
    );
  });

  test("an image of poor quality is refused whatever the model", () => {
    const flat = assess({ ...spec, abstention: null }, score(null), new Uint8Array(3 * spec.input.size ** 2).fill(128));
    expect(flat).toEqual({ reasons: [{ key: "flat" }], hints: [] });
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
  const SIDE = 70;
  const paint = (value: (x: number, y: number) => number): Uint8Array =>
    Uint8Array.from({ length: 3 * SIDE * SIDE }, (_, i) => {
      const pixel = Math.floor(i / 3);
      return value(pixel % SIDE, Math.floor(pixel / SIDE));
    });
  const faults = (pixels: Uint8Array): (string | null)[] => {
    const quality = measureQuality(pixels, SIDE);
    return [findFault(quality, SIDE, "refuse"), findFault(quality, SIDE, "hint")];
  };
  const checks = (x: number, y: number): number => ((x >> 3) + (y >> 3)) % 2;

  test("a sharp picture in good light has no fault", () => {
    expect(faults(paint((x, y) => 90 + 80 * checks(x, y)))).toEqual([null, null]);
  });
  test("dark, bright, flat and blurred are told apart, in two levels", () => {
    expect(faults(paint((x, y) => 10 + 40 * checks(x, y)))).toEqual(["dark", "dark"]);
    expect(faults(paint((x, y) => 40 + 40 * checks(x, y)))).toEqual([null, "dark"]);
    expect(faults(paint((x, y) => 230 + 25 * checks(x, y)))).toEqual(["bright", "bright"]);
    expect(faults(paint((x, y) => 200 + 40 * checks(x, y)))).toEqual([null, "bright"]);
    expect(faults(paint(() => 128))).toEqual(["flat", "flat"]);
    expect(faults(paint((x) => 128 + 60 * Math.sin(x / 16)))).toEqual(["blurred", "blurred"]);
  });
  test("an image with a fourth channel is measured alike", () => {
    const pixels = paint((x, y) => x + y);
    expect(measureQuality(opaque(pixels), SIDE, 4)).toEqual(measureQuality(pixels, SIDE));
  });
  test("luma and movement", () => {
    expect([...luma([255, 255, 255, 0, 255, 0])]).toEqual([255, expect.closeTo(149.414, 2)]);
    expect([...luma([0, 0, 0, 255], 4)]).toEqual([0]);
    expect(meanDifference(new Float32Array([1, 2]), new Float32Array([3, 2]))).toBe(1);
  });
});
