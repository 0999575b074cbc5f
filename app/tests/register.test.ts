import { expect, test } from "vitest";
import { segment } from "../src/measure/segment";
import { applied, invert, register } from "../src/register/register";
import { blob, render, type Scene, warped } from "./phantoms";

const SCENE: Scene = { width: 320, height: 240, kind: "dark", shapes: [blob({ x: 150, y: 125 }, 45, 0, 3)], seed: 5 };
const PLACES = [40, 160, 280].flatMap((x) => [40, 120, 200].map((y) => ({ x, y })));

/** Largest distance, in pixels of the fixed picture, by which the move misses. */
test.each([
  [0, 1, 0, 0],
  [5, 1, 10, -6],
  [25, 1.1, -14, 8],
  [-40, 0.85, 12, 10],
  [90, 1.25, 0, 12],
  [175, 0.9, -8, -8],
])(
  "turned by %d degrees, zoomed %d times, moved by %d and %d pixels: laid over within a pixel",
  (turn, zoom, dx, dy) => {
    const { pixels, fixedToMoving } = warped(SCENE, turn, zoom, dx, dy, 9);
    const found = register(render(SCENE), pixels)!;
    expect(found).not.toBeNull();
    const missed = PLACES.map((place) => {
      const back = applied(found.transform, applied(fixedToMoving, place));
      return Math.hypot(back.x - place.x, back.y - place.y);
    });
    expect(Math.max(...missed)).toBeLessThan(1);
    expect(found.zoom).toBeCloseTo(1 / zoom, 1);
    expect(Math.abs(((found.turn + turn + 540) % 360) - 180)).toBeLessThan(1);
    expect(found.quality).toBeGreaterThan(0.8);
  },
  300_000,
);

test("a lesion that has doubled its area is laid over by the skin around it", () => {
  const before: Scene = { ...SCENE, width: 400, height: 300, shapes: [blob({ x: 200, y: 150 }, 55, 0, 3)] };
  const after: Scene = { ...before, shapes: [blob({ x: 200, y: 150 }, 55 * Math.SQRT2, 0, 3)] };
  const { pixels, fixedToMoving } = warped(after, 12, 1, 8, -6, 9);
  const first = render(before);
  const hidden = [first, pixels].map((one) => segment(one, "dark").shapes);
  const found = register({ ...first, hidden: hidden[0] }, { ...pixels, hidden: hidden[1] })!;
  expect(found).not.toBeNull();
  expect(found.zoom).toBeCloseTo(1, 1);
  for (const place of PLACES) {
    const back = applied(found.transform, applied(fixedToMoving, place));
    expect(Math.hypot(back.x - place.x, back.y - place.y)).toBeLessThan(3);
  }
}, 300_000);

test.each([
  // Laid over by hair on hair and edge on edge these two have a correlation of 0.8.
  ["another lesion of the same size, among hairs", { shapes: [blob({ x: 150, y: 125 }, 45, 0, 11)], seed: 78 }],
  ["a patch", { kind: "pale" as const, shapes: [blob({ x: 90, y: 60 }, 14, 0, 11)], seed: 77 }],
])(
  "a picture of %s is not laid over",
  (_, other) => {
    const one: Scene = { ...SCENE, hairs: 3 };
    expect(register(render(one), render({ ...one, ...other }))).toBeNull();
  },
  300_000,
);

test("a map and its inverse undo each other", () => {
  const back = applied(invert([1.1, 0.3, -0.2, 0.9, 12, -7]), applied([1.1, 0.3, -0.2, 0.9, 12, -7], { x: 3, y: 5 }));
  expect(back.x).toBeCloseTo(3, 9);
  expect(back.y).toBeCloseTo(5, 9);
});
