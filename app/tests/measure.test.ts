import { describe, expect, test } from "vitest";
import { outlines, rasterise, signedArea, simplify } from "../src/measure/contour";
import {
  area,
  areaMm2,
  asymmetry,
  change,
  diameterMm,
  figures,
  longestDiameter,
  SHAPE_ERRORS,
} from "../src/measure/figures";
import { findHairs } from "../src/measure/hair";
import { newPlane, type Point } from "../src/measure/raster";
import { circleThrough, coinScale, fieldScale, rulerScale } from "../src/measure/scale";
import { segment } from "../src/measure/segment";
import { blob, render, type Scene, trueArea } from "./phantoms";

const SIZE = { width: 320, height: 240 };
const MIDDLE = { x: 157, y: 123 };
/** Radius as a share of the shorter side: of the lesion, or of both patches with what lies between them. */
const SCALES = {
  dark: [0.08, 0.13, 0.19, 0.26, 0.33],
  pale: [0.1, 0.15, 0.2, 0.26, 0.33],
  wood: [0.1, 0.15, 0.2, 0.26, 0.33],
};
const TURNS = [0, 1, 2, 3].map((k) => (k * Math.PI) / 4 + 0.1);
/** All disturbances apart and together at every scale and rotation: minutes. Otherwise together at all, apart at one rotation. */
const EVERYTHING = process.env["LENTIGO_FIGURES"] !== undefined;

/** Relative error of the proposed area; that of a single lesion's shape is within what the app states. */
function areaError(scene: Scene): number {
  const { shapes } = segment(render(scene), scene.kind);
  if (scene.shapes.length === 1) {
    const [found, truth] = [figures(shapes[0]), figures(scene.shapes[0])];
    expect(Math.abs(found.asymmetry - truth.asymmetry)).toBeLessThan(SHAPE_ERRORS.asymmetry);
    expect(Math.abs(found.border / truth.border - 1)).toBeLessThan(SHAPE_ERRORS.border);
  }
  return shapes.reduce((sum, shape) => sum + area(shape), 0) / trueArea(scene.shapes) - 1;
}

function shapesOf(kind: Scene["kind"], radius: number, turn: number, seed: number): Point[][] {
  const r = radius * SIZE.height;
  if (kind === "dark") return [blob(MIDDLE, r, turn, seed)];
  // Patches: one large and a smaller one beside it, turned about the middle.
  const at = (angle: number, away: number): Point => ({
    x: MIDDLE.x + away * r * Math.cos(angle),
    y: MIDDLE.y + away * r * Math.sin(angle),
  });
  return [blob(at(turn, 0.6), r * 0.75, turn, seed), blob(at(turn + Math.PI, 0.9), r * 0.45, turn, seed + 1)];
}

const DISTURBED: Record<string, Partial<Scene>> = {
  plain: {},
  hair: { hairs: 8 },
  "dark corners": { darkCorners: true },
  "uneven light": { unevenLight: 1.6 },
  together: { hairs: 6, darkCorners: true, unevenLight: 1.4 },
};

describe.each(["dark", "pale", "wood"] as const)(
  "area of drawn %s lesions is right within 10 %%, their shape as stated",
  (kind) => {
    test.each(Object.keys(DISTURBED))(
      "%s, at 5 scales",
      (name) => {
        const errors: number[] = [];
        SCALES[kind].forEach((scale, i) =>
          TURNS.forEach((turn, j) => {
            if (!EVERYTHING && name !== "together" && j !== i % 4) return;
            const seed = 10 * i + j + 1;
            errors.push(
              areaError({ ...SIZE, kind, shapes: shapesOf(kind, scale, turn, seed), seed, ...DISTURBED[name] }),
            );
          }),
        );
        const worst = Math.max(...errors.map(Math.abs));
        if (EVERYTHING) {
          const mean = errors.reduce((sum, error) => sum + Math.abs(error), 0) / errors.length;
          console.log(`${kind}, ${name}: mean ${(100 * mean).toFixed(1)} %, worst ${(100 * worst).toFixed(1)} %`);
        }
        expect(worst).toBeLessThan(0.1);
      },
      900_000,
    ); // many pictures, on machines that are busy
  },
);

test.each([
  ["plain", {}],
  ["other skin", { seed: 2 }],
  ["hair", { hairs: 8 }],
  ["uneven light", { unevenLight: 2, seed: 3 }],
])("a picture without a lesion gets no outline without a doubt: %s", (_, disturbed) => {
  const { shapes, doubts } = segment(render({ ...SIZE, kind: "dark", shapes: [], ...disturbed }), "dark");
  expect(shapes.length === 0 || doubts.length > 0).toBe(true);
});

test("of several lesions one is outlined, and that is said", () => {
  const pair = [70, 240].map((x, i) => blob({ x, y: 120 }, 35, 0, 3 + i));
  expect(segment(render({ ...SIZE, kind: "dark", shapes: pair }), "dark")).toMatchObject({
    shapes: [expect.anything()],
    doubts: ["several"],
  });
  expect(segment(render({ ...SIZE, kind: "dark", shapes: pair.slice(1) }), "dark").doubts).toEqual([]);
});

test("a lesion cut off by the border is said to be", () => {
  const scene: Scene = { ...SIZE, kind: "dark", shapes: [blob({ x: 6, y: 120 }, 60, 0, 3)] };
  expect(segment(render(scene), "dark").doubts).toContain("border");
});

test("only what lies within a given outline is looked at", () => {
  const left = blob({ x: 80, y: 120 }, 34, 0, 3);
  const scene: Scene = { ...SIZE, kind: "pale", shapes: [left, blob({ x: 240, y: 120 }, 34, 0, 4)] };
  const half = [
    { x: 0, y: 0 },
    { x: 160, y: 0 },
    { x: 160, y: 240 },
    { x: 0, y: 240 },
  ];
  expect(segment(render(scene), "pale").shapes).toHaveLength(2);
  const { shapes } = segment(render(scene), "pale", half);
  expect(shapes).toHaveLength(1);
  expect(area(shapes[0]) / area(left)).toBeCloseTo(1, 1);
});

test("hairs are found, and skin is not", () => {
  const grey = (scene: Scene) => {
    const { data, width, height } = render(scene);
    const plane = newPlane(width, height);
    for (let i = 0; i < plane.values.length; i++) plane.values[i] = data[i * 4 + 1];
    return findHairs(plane).values.reduce((sum, value) => sum + value, 0) / plane.values.length;
  };
  const scene: Scene = { ...SIZE, kind: "dark", shapes: [blob(MIDDLE, 40, 0, 2)] };
  expect(grey(scene)).toBeLessThan(0.002);
  expect(grey({ ...scene, hairs: 6 })).toBeGreaterThan(0.02);
});

const circle = (x: number, y: number, r: number, n = 200): Point[] =>
  Array.from({ length: n }, (_, i) => ({
    x: x + r * Math.cos((2 * Math.PI * i) / n),
    y: y + r * Math.sin((2 * Math.PI * i) / n),
  }));
const box = (w: number, h: number): Point[] => [
  { x: 0, y: 0 },
  { x: w, y: 0 },
  { x: w, y: h },
  { x: 0, y: h },
];

test("figures of shapes whose figures are known", () => {
  const round = figures(circle(50, 50, 20));
  expect(round.area).toBeCloseTo(Math.PI * 400, -1);
  expect(round.diameter).toBeCloseTo(40, 1);
  expect(round.border).toBeCloseTo(1, 2);
  expect(round.solidity).toBeCloseTo(1, 3);
  expect(round.asymmetry).toBeLessThan(0.03);
  const oblong = figures(box(60, 20));
  expect(oblong.area).toBe(1200);
  expect(oblong.diameter).toBeCloseTo(Math.hypot(60, 20), 6);
  expect(oblong.border).toBeCloseTo(160 ** 2 / (4 * Math.PI * 1200), 6);
  expect(oblong.asymmetry).toBeLessThan(0.05);
  // A quarter of a box cut away: mirror-symmetric about neither of its main axes.
  const bite = [
    { x: 0, y: 0 },
    { x: 60, y: 0 },
    { x: 60, y: 12 },
    { x: 18, y: 12 },
    { x: 18, y: 40 },
    { x: 0, y: 40 },
  ];
  expect(asymmetry(bite)).toBeGreaterThan(0.15);
  expect(figures(bite).solidity).toBeLessThan(0.8);
  expect(longestDiameter(box(3, 4))).toBe(5);
});

test("an outline goes to a mask and back", () => {
  const shape = circle(40, 35, 22);
  const mask = rasterise([shape], 80, 70);
  const plane = { ...mask, values: Float32Array.from(mask.values) };
  const [found, ...more] = outlines(plane, 0.5);
  expect(more).toHaveLength(0);
  expect(signedArea(found)).toBeGreaterThan(0);
  expect(area(found) / area(shape)).toBeCloseTo(1, 2);
  const fewer = simplify(found, 0.5);
  expect(fewer.length).toBeLessThan(found.length / 2);
  expect(area(fewer) / area(found)).toBeCloseTo(1, 1);
});

test("a ruler, a coin and a known field give the scale, with its error", () => {
  const ruler = rulerScale({ x: 10, y: 20 }, { x: 10, y: 220 }, 20, 400)!;
  expect(ruler.mmPerPixel).toBeCloseTo(0.1, 6);
  expect(rulerScale({ x: 10, y: 20 }, { x: 10, y: 120 }, 10, 400)!.relativeError).toBeGreaterThan(ruler.relativeError);
  expect(rulerScale({ x: 1, y: 1 }, { x: 1, y: 1 }, 10, 400)).toBeNull();
  const rim = circle(100, 90, 46.5, 5);
  expect(circleThrough(rim)!.radius).toBeCloseTo(46.5, 6);
  expect(coinScale(rim, 23.25, 400)!.mmPerPixel).toBeCloseTo(0.25, 6);
  expect(coinScale([rim[0], rim[0], rim[0]], 23.25, 400)).toBeNull();
  expect(fieldScale(20, 400)!.mmPerPixel).toBeCloseTo(0.05, 6);
  expect(fieldScale(Number.NaN, 400)).toBeNull();
});

test("areas in square millimetres carry their error, and a change is clear only beyond it", () => {
  const scale = fieldScale(20, 400)!;
  const small = areaMm2([circle(200, 150, 40)], scale, 400);
  expect(small.value).toBeCloseTo(Math.PI * 4, 1);
  expect(small.error / small.value).toBeGreaterThan(0.04); // twice the field's error alone
  const large = areaMm2([circle(200, 150, 60)], scale, 400);
  expect(large.error / large.value).toBeLessThan(small.error / small.value);
  expect(diameterMm(circle(200, 150, 40), scale, 400).value).toBeCloseTo(4, 2);
  expect(change(small, large)).toMatchObject({ clear: true });
  expect(change(small, large).value).toBeCloseTo(125, 0);
  expect(change(small, { value: small.value * 1.05, error: small.error })).toMatchObject({ clear: false });
});
