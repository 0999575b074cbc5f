import { describe, expect, test } from "vitest";
import { GUIDE, guideSquare } from "../src/core/framing";
import { isLevel, levelOf } from "../src/core/level";
import { fit, FITTED, largestScale, moved, zoomed } from "../src/core/zoom";

describe("zooming", () => {
  const stage = { width: 400, height: 600 };
  const fitted = fit({ width: 4000, height: 3000 }, stage);

  test("a picture is fitted, and never enlarged for that", () => {
    expect(fitted).toEqual({ width: 400, height: 300 });
    expect(fit({ width: 100, height: 50 }, stage)).toEqual({ width: 100, height: 50 });
  });

  test("the point under the fingers stays where it is", () => {
    const point = { x: 70, y: -40 };
    const before = { scale: 1.5, x: 10, y: 5 };
    const after = zoomed(before, 2, point, 10);
    const inPicture = (view: typeof before) => [(point.x - view.x) / view.scale, (point.y - view.y) / view.scale];
    expect(after.scale).toBe(3);
    expect(inPicture(after)).toEqual(inPicture(before));
  });

  test("scales stay between the whole picture and its pixels", () => {
    const most = largestScale({ width: 4000, height: 3000 }, fitted);
    expect(most).toBe(40);
    expect(zoomed(FITTED, 0.1, { x: 0, y: 0 }, most).scale).toBe(1);
    expect(zoomed(FITTED, 1000, { x: 0, y: 0 }, most).scale).toBe(40);
  });

  test("the picture does not leave the stage", () => {
    expect(moved(FITTED, 500, 500, fitted, stage)).toEqual(FITTED);
    expect(moved({ ...FITTED, scale: 4 }, 5000, -5000, fitted, stage)).toEqual({ scale: 4, x: 600, y: -300 });
  });
});

describe("the guide", () => {
  test.each([
    [
      { width: 1920, height: 1440 },
      { width: 360, height: 520 },
    ],
    [
      { width: 1440, height: 1920 },
      { width: 360, height: 520 },
    ],
    [
      { width: 640, height: 480 },
      { width: 604, height: 390 },
    ],
  ])("marks what is kept of %o in %o", (frame, shown) => {
    const { x, y, width, height } = guideSquare(frame, shown);
    const scale = Math.max(shown.width / frame.width, shown.height / frame.height);
    expect(width).toBe(height);
    expect(width * scale).toBeCloseTo(GUIDE * Math.min(shown.width, shown.height), -1);
    expect(Math.abs(2 * x + width - frame.width)).toBeLessThanOrEqual(1); // in the middle
    expect(Math.abs(2 * y + height - frame.height)).toBeLessThanOrEqual(1);
    expect(Math.min(x, y)).toBeGreaterThanOrEqual(0);
  });
});

describe("the level", () => {
  const turned = (degrees: number) => {
    const angle = (degrees * Math.PI) / 180;
    return levelOf({ x: 9.81 * Math.sin(angle), y: 9.81 * Math.cos(angle), z: 0 })!;
  };
  test("of a standing phone is how far it is turned from the nearest quarter", () => {
    expect(turned(0)).toEqual({ kind: "upright", roll: 0 });
    expect(turned(10)).toMatchObject({ kind: "upright", roll: expect.closeTo(10, 6) as number });
    expect(turned(85)).toMatchObject({ roll: expect.closeTo(-5, 6) as number });
    expect([turned(2), turned(89), turned(10)].map(isLevel)).toEqual([true, true, false]);
  });
  test("of a lying phone is its tilt", () => {
    expect(levelOf({ x: 0, y: 0, z: -9.81 })).toEqual({ kind: "flat", tilt: 0 });
    expect(isLevel(levelOf({ x: 1.5, y: 0, z: 9.7 })!)).toBe(false);
  });
  test("is not known in free fall", () => {
    expect(levelOf({ x: 0.1, y: 0, z: 0.2 })).toBeNull();
  });
});
