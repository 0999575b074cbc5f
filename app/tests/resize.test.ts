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

test.each(cases)("$width x $height to $size is Python's result to the byte", (one) => {
  const ours = resizeToSquare(opaque(fromBase64(one.source)), one.width, one.height, one.size);
  expect(Buffer.from(ours).equals(Buffer.from(fromBase64(one.resized)))).toBe(true);
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
  const { output, taps, count, fixed, shift } = triangleWeights(451, 224);
  for (let i = 0; i < output; i++) {
    let sum = 0;
    for (let k = 0; k < count[i]; k++) sum += fixed[i * taps + k];
    expect(Math.abs(sum / 2 ** shift - 1)).toBeLessThan(1e-3);
  }
});
