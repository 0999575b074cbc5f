import { expect, test } from "vitest";
import { type Affine, centreSquare, clampCrop, NO_EDIT, orientedSize, placement, turnCrop } from "../src/core/geometry";

const apply = ([a, b, c, d, e, f]: Affine, x: number, y: number): [number, number] => [
  a * x + c * y + e,
  b * x + d * y + f,
];

/** Where the centre of a stored pixel lands. */
const lands = (transform: Affine, x: number, y: number): [number, number] => {
  const [u, v] = apply(transform, x + 0.5, y + 0.5);
  return [u - 0.5, v - 0.5];
};

const STORED = { width: 5, height: 3 };

// Where the stored pixel (0, 0) belongs, from the EXIF standard (row 0 and column 0 are ...).
test.each([
  [1, [0, 0]],
  [2, [4, 0]], // top right
  [3, [4, 2]], // bottom right
  [4, [0, 2]], // bottom left
  [5, [0, 0]], // left top, transposed
  [6, [2, 0]], // right top
  [7, [2, 4]], // right bottom
  [8, [0, 4]], // left bottom
])("orientation %i puts the first stored pixel at %j", (orientation, target) => {
  const { transform, size } = placement(STORED, orientation, NO_EDIT);
  expect(size).toEqual(orientedSize(orientation, STORED));
  expect(lands(transform, 0, 0)).toEqual(target);
  for (const [u, v] of [
    [0, 0],
    [4, 2],
  ]) {
    const [x, y] = lands(transform, u, v);
    expect(x >= 0 && x < size.width && y >= 0 && y < size.height).toBe(true);
  }
});

test("a quarter turn is clockwise, and a crop is taken after it", () => {
  const { transform, size } = placement(STORED, 1, { turns: 1, crop: { x: 1, y: 2, width: 2, height: 3 } });
  expect(size).toEqual({ width: 2, height: 3 });
  expect(lands(transform, 0, 0)).toEqual([1, -2]); // top left goes to the top right of 3 x 5, then the crop is subtracted
});

test("four turns of a crop are none", () => {
  let crop = { x: 1, y: 0, width: 3, height: 2 };
  let size = STORED;
  for (let i = 0; i < 4; i++) {
    crop = turnCrop(crop, size);
    size = { width: size.height, height: size.width };
  }
  expect(crop).toEqual({ x: 1, y: 0, width: 3, height: 2 });
});

test("crops are kept inside the image, in whole pixels", () => {
  expect(clampCrop({ x: -3, y: 1.4, width: 90, height: 0 }, STORED)).toEqual({ x: 0, y: 1, width: 5, height: 1 });
  expect(clampCrop(null, STORED)).toEqual({ x: 0, y: 0, ...STORED });
  expect(centreSquare(STORED)).toEqual({ x: 1, y: 0, width: 3, height: 3 });
});
