import { expect, test } from "vitest";
import { resizeColumns, resizeRows, resizeToSquare, triangleWeights } from "../src/core/resize";
import { FIXTURES, fromBase64, opaque, textOf } from "./fixtures";

interface Case {
  width: number;
  height: number;
  size: number;
  source: string;
  resized: string;
}

const cases = JSON.parse(textOf(FIXTURES, "resize.json")) as Case[];

function largestDifference({ width, height, size, source, resized }: Case): number {
  const ours = resizeToSquare(opaque(fromBase64(source)), width, height, size);
  const theirs = fromBase64(resized);
  expect(ours.length).toBe(theirs.length);
  return ours.reduce((largest, value, i) => Math.max(largest, Math.abs(value - theirs[i])), 0);
}

const isTall = ({ width, height }: Case): boolean => height > width;

test.each(cases.filter((one) => !isTall(one)))("$width x $height to $size is Pillow's result to the byte", (one) => {
  expect(largestDifference(one)).toBe(0);
});

// Pillow 13 resizes tall images vertically first, older versions horizontally: they differ by one rounding.
test.each(cases.filter(isTall))("$width x $height to $size is within 1 of Pillow's result", (one) => {
  expect(largestDifference(one)).toBeLessThanOrEqual(1);
});

test("strips give the same as the whole image", () => {
  const { width, height, size, source } = cases[1];
  const rgba = opaque(fromBase64(source));
  const weights = triangleWeights(width, size);
  const narrow = new Uint8Array(height * size * 3);
  for (let y = 0; y < height; y += 7) {
    const rows = Math.min(7, height - y);
    resizeRows(rgba.subarray(y * width * 4, (y + rows) * width * 4), rows, weights, narrow, y);
  }
  expect(resizeColumns(narrow, size, triangleWeights(height, size))).toEqual(resizeToSquare(rgba, width, height, size));
});

test("weights of every output position sum to one", () => {
  const { output, taps, count, fixed } = triangleWeights(451, 224);
  for (let i = 0; i < output; i++) {
    let sum = 0;
    for (let k = 0; k < count[i]; k++) sum += fixed[i * taps + k];
    expect(Math.abs(sum / 2 ** 22 - 1)).toBeLessThan(1e-5);
  }
});
