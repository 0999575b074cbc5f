/**
 * A proposed outline of a dark lesion or of pale patches, by classical means: the person corrects it.
 *
 * Hairs are filled, the black surround of a round field is left out, and a smooth surface through the skin takes out
 * uneven light. What remains is the difference in optical density from the skin, along the direction in colour that sets
 * the lesion apart best; it is cut half way between the inside and the outside of its own edge.
 */

import { outlines, rasterise, signedArea, simplify } from "./contour";
import { fillFrom, findHairs } from "./hair";
import { flatten, solve } from "./light";
import {
  blur,
  components,
  dilate,
  erode,
  fillHoles,
  type Mask,
  newMask,
  newPlane,
  otsu,
  type Pixels,
  type Plane,
  type Point,
  quantile,
  reducedPlanes,
} from "./raster";

/** What is sought: one dark lesion, or any number of pale patches, in daylight or under Wood's lamp. */
export type Target = "dark" | "pale" | "wood";

/** Why a proposal should be looked at with care. */
export type Doubt = "nothing" | "faint" | "border" | "large" | "small" | "several";

export interface Proposal {
  /** Closed outlines in the image's pixels, the largest first; empty where nothing was found. */
  shapes: Point[][];
  doubts: Doubt[];
}

const WORKING = 384; // pixels of the longer side
const SURROUND = 45; // a pixel whose brightest channel is below this may belong to the black surround
const SURROUND_WOOD = 10; // a picture under Wood's lamp is dark all over
const OPENING = 4; // pixels
const BAND = 0.1; // of the shorter side: where skin is expected
const SMALLEST = 0.0008; // of the field
const LARGEST = 0.6;
const SMALL = 0.01; // of the field: specks of skin without a lesion are as large
const SEVERAL = 0.25; // of what is outlined: another part as large may be another lesion
const FAINT = 3.5; // standard deviations of the skin
const FAINT_DENSITY = 0.12; // optical density (natural logarithm), about what the skin's own texture has
const EDGE_SHARE = 0.12; // of the outline that may lie on the border
const CENTRE = 0.7; // spread of the preference for the middle, in half sides

/**
 * Propose outlines.
 *
 * @param within only what lies in this outline is looked at (a region of the body, say)
 */
export function segment(pixels: Pixels, target: Target, within?: readonly Point[]): Proposal {
  const { planes, factor } = reducedPlanes(pixels, WORKING);
  const { width, height } = planes[0];
  const scale = { x: pixels.width / width, y: pixels.height / height };
  const usable = field(planes, target === "wood" ? SURROUND_WOOD : SURROUND);
  if (within !== undefined) {
    const inside = rasterise([within.map(({ x, y }) => ({ x: x / scale.x, y: y / scale.y }))], width, height);
    for (let i = 0; i < usable.values.length; i++) usable.values[i] &= inside.values[i];
  }
  const difference = deviation(planes, usable, target);
  if (difference === null) return { shapes: [], doubts: ["nothing"] };
  const { plane, noise } = difference;

  const usableValues = plane.values.filter((_, i) => usable.values[i] === 1);
  let level = Math.max(otsu(usableValues), FAINT * noise);
  let mask = choose(plane, usable, level, target);
  for (let round = 0; round < 4 && mask !== null; round++) {
    const edge = edgeLevel(plane, mask, usable);
    if (edge === null) break;
    level = Math.max(edge, 2 * noise);
    mask = choose(plane, usable, level, target) ?? mask;
  }
  if (mask === null) return { shapes: [], doubts: ["nothing"] };

  const kept = newPlane(width, height, 0);
  const near = dilate(mask, 1);
  const deep = erode(mask, 1);
  for (let i = 0; i < kept.values.length; i++) {
    // Holes are filled; everything but the chosen parts lies below the level.
    if (deep.values[i] === 1) kept.values[i] = Math.max(plane.values[i], level * 2);
    else if (near.values[i] === 1)
      kept.values[i] =
        mask.values[i] === 1 ? Math.max(plane.values[i], level * 1.0001) : Math.min(plane.values[i], level * 0.9999);
  }
  const least = SMALLEST * usableValues.length;
  const shapes = outlines(kept, level)
    .filter((shape) => signedArea(shape) >= least)
    .sort((a, b) => signedArea(b) - signedArea(a))
    .map((shape) =>
      simplify(shape, 0.25 / factor > 0.25 ? 0.25 : 0.2).map(({ x, y }) => ({ x: x * scale.x, y: y * scale.y })),
    );
  if (shapes.length === 0) return { shapes: [], doubts: ["nothing"] };
  const left = target === "dark" ? leftOut(plane, mask, usable, level) : 0;
  return { shapes, doubts: doubts(plane, mask, usable, noise, left) };
}

/** The field of view: everything but the black surround that hangs together with a corner, and a little around it. */
function field(planes: readonly Plane[], darkness: number): Mask {
  const { width, height } = planes[0];
  const dark = newMask(width, height);
  for (let i = 0; i < dark.values.length; i++) {
    dark.values[i] = Math.max(planes[0].values[i], planes[1].values[i], planes[2].values[i]) < darkness ? 1 : 0;
  }
  // Opened, so that a hair that reaches the surround is no part of it.
  const { labels } = components(dilate(erode(dark, OPENING), OPENING));
  const corners = new Set([0, width - 1, (height - 1) * width, height * width - 1].map((i) => labels[i]));
  corners.delete(0);
  const surround = newMask(width, height);
  for (let i = 0; i < labels.length; i++) surround.values[i] = corners.has(labels[i]) ? 1 : 0;
  const grown = dilate(surround, Math.round(0.02 * Math.min(width, height)));
  return { width, height, values: grown.values.map((value) => 1 - value) };
}

interface Deviation {
  plane: Plane;
  noise: number;
}

/** How far each pixel is from the skin, along the direction in colour that sets the target apart. */
function deviation(planes: readonly Plane[], usable: Mask, target: Target): Deviation | null {
  const { width, height } = planes[0];
  const lightness = newPlane(width, height);
  for (let i = 0; i < lightness.values.length; i++) {
    lightness.values[i] = (planes[0].values[i] + planes[1].values[i] + planes[2].values[i]) / 3;
  }
  const hairs = findHairs(lightness);
  const band = Math.max(2, Math.round(BAND * Math.min(width, height)));
  const inner = erode(framed(usable), band);
  const start = newMask(width, height);
  for (let i = 0; i < start.values.length; i++) {
    start.values[i] = usable.values[i] === 1 && inner.values[i] === 0 && hairs.values[i] === 0 ? 1 : 0;
  }
  if (start.values.reduce((sum, value) => sum + value, 0) < 50) return null;
  const side = target === "dark" ? -1 : 1;
  const densities = planes.map((channel) => {
    // Hairs are filled in the logarithm, where the half way of an edge lies: bright sides would else reach out along them.
    const logarithm = newPlane(width, height);
    for (let i = 0; i < channel.values.length; i++) logarithm.values[i] = Math.log(channel.values[i] + 4);
    const flat = flatten(blur(fillFrom(logarithm, hairs), 0.8), start, usable, side);
    return { values: flat.residual.values.map((value) => side * value), noise: flat.noise };
  });

  // First the channels weighted by how quiet they are, then the direction of Fisher's discriminant.
  const quiet = densities.map(({ noise }) => 1 / noise ** 2);
  let direction = quiet.map((weight) => weight / Math.hypot(...quiet));
  for (let round = 0; round < 2; round++) {
    const plane = project(densities, direction, width, height);
    const values = plane.values.filter((_, i) => usable.values[i] === 1);
    const cut = otsu(values);
    const turned = fisher(densities, plane, usable, cut);
    if (turned === null) break;
    direction = turned;
  }
  const plane = project(densities, direction, width, height);
  const cut = otsu(plane.values.filter((_, i) => usable.values[i] === 1));
  const skin = plane.values.filter((value, i) => usable.values[i] === 1 && value < cut);
  const middle = quantile(skin, 0.5);
  const noise = Math.max(
    1e-3,
    1.4826 *
      quantile(
        skin.map((value) => Math.abs(value - middle)),
        0.5,
      ),
  );
  for (let i = 0; i < plane.values.length; i++)
    plane.values[i] = usable.values[i] === 1 ? plane.values[i] - middle : -noise;
  return { plane: blur(plane, 0.7), noise };
}

/** A mask whose pixels on the image's border are 0, so that the border erodes too. */
function framed(mask: Mask): Mask {
  const { width, height } = mask;
  const out = newMask(width, height);
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1; x < width - 1; x++) out.values[y * width + x] = mask.values[y * width + x];
  }
  return out;
}

type Densities = readonly { values: Float32Array; noise: number }[];

function project(densities: Densities, direction: readonly number[], width: number, height: number): Plane {
  const plane = newPlane(width, height);
  densities.forEach(({ values }, channel) => {
    for (let i = 0; i < values.length; i++) plane.values[i] += direction[channel] * values[i];
  });
  return plane;
}

/** Direction that sets what lies above the cut apart from what lies below, given how the latter scatters. */
function fisher(densities: Densities, plane: Plane, usable: Mask, cut: number): number[] | null {
  const [red, green, blue] = densities.map(({ values }) => values);
  const counts = [0, 0];
  const sums = [new Float64Array(3), new Float64Array(3)];
  const products = new Float64Array(6); // rr, rg, rb, gg, gb, bb of what lies below
  for (let i = 0; i < plane.values.length; i++) {
    if (usable.values[i] === 0) continue;
    const [r, g, b] = [red[i], green[i], blue[i]];
    const group = plane.values[i] > cut ? 1 : 0;
    counts[group] += 1;
    sums[group][0] += r;
    sums[group][1] += g;
    sums[group][2] += b;
    if (group === 1) continue;
    products[0] += r * r;
    products[1] += r * g;
    products[2] += r * b;
    products[3] += g * g;
    products[4] += g * b;
    products[5] += b * b;
  }
  if (counts[0] < 20 || counts[1] < 20) return null;
  const [below, above] = sums.map((sum, group) => sum.map((value) => value / counts[group]));
  const [rr, rg, rb, gg, gb, bb] = products.map((sum) => sum / counts[0]);
  const scatter = [
    [rr - below[0] ** 2, rg - below[0] * below[1], rb - below[0] * below[2]],
    [rg - below[0] * below[1], gg - below[1] ** 2, gb - below[1] * below[2]],
    [rb - below[0] * below[2], gb - below[1] * below[2], bb - below[2] ** 2],
  ];
  const ridge = 0.1 * (scatter[0][0] + scatter[1][1] + scatter[2][2]) + 1e-6;
  for (let a = 0; a < 3; a++) scatter[a][a] += ridge;
  const apart = [0, 1, 2].map((channel) => above[channel] - below[channel]);
  const direction = solve(scatter, apart).map((value) => Math.max(0, value));
  const length = Math.hypot(...direction);
  return length > 0 ? direction.map((value) => value / length) : null;
}

/** The parts above the level that are the target: for a dark lesion what weighs most near the middle, for patches every part. */
function choose(plane: Plane, usable: Mask, level: number, target: Target): Mask | null {
  const { width, height } = plane;
  const above = newMask(width, height);
  let room = 0;
  for (let i = 0; i < above.values.length; i++) {
    room += usable.values[i];
    above.values[i] = usable.values[i] === 1 && plane.values[i] > level ? 1 : 0;
  }
  // Bridges and threads of hair that were left are cut off; what is cut is given back where it touches a part that stays.
  const opened = dilate(erode(above, 1), 1);
  for (let i = 0; i < opened.values.length; i++) opened.values[i] &= above.values[i];
  const { labels, count, sizes } = components(opened);
  if (count === 0) return null;
  const weights = new Float64Array(count + 1);
  for (let i = 0; i < labels.length; i++) {
    if (labels[i] === 0) continue;
    const x = (2 * (i % width)) / width - 1;
    const y = (2 * Math.floor(i / width)) / height - 1;
    const preference = target === "dark" ? Math.exp(-(x * x + y * y) / (2 * CENTRE ** 2)) : 1;
    weights[labels[i]] += plane.values[i] * preference;
  }
  const most = Math.max(...weights);
  const isKept = sizes.map(
    (size, label) => label > 0 && (target === "dark" ? weights[label] === most : size >= SMALLEST * room),
  );
  if (!isKept.some(Boolean)) return null;
  const mask = newMask(width, height);
  for (let i = 0; i < labels.length; i++) mask.values[i] = isKept[labels[i]] ? 1 : 0;
  return fillHoles(mask);
}

/** Half way between the inside and the outside of the edge: where a blurred step of any height has its true place. */
function edgeLevel(plane: Plane, mask: Mask, usable: Mask): number | null {
  const inner = erode(mask, 2);
  const core = erode(mask, 5);
  const outer = dilate(mask, 4);
  const far = dilate(mask, 9);
  const inside: number[] = [];
  const outside: number[] = [];
  for (let i = 0; i < mask.values.length; i++) {
    if (usable.values[i] === 0) continue;
    if (inner.values[i] === 1 && core.values[i] === 0) inside.push(plane.values[i]);
    if (far.values[i] === 1 && outer.values[i] === 0) outside.push(plane.values[i]);
  }
  if (inside.length < 8 || outside.length < 8) return null;
  return (quantile(inside, 0.5) + quantile(outside, 0.5)) / 2;
}

/** Pixels of the largest part above the level that is not outlined. */
function leftOut(plane: Plane, mask: Mask, usable: Mask, level: number): number {
  const rest = newMask(mask.width, mask.height);
  const near = dilate(mask, 3);
  for (let i = 0; i < rest.values.length; i++) {
    rest.values[i] = usable.values[i] === 1 && near.values[i] === 0 && plane.values[i] > level ? 1 : 0;
  }
  return Math.max(...components(rest).sizes);
}

function doubts(plane: Plane, mask: Mask, usable: Mask, noise: number, left: number): Doubt[] {
  const { width, height } = mask;
  const found: Doubt[] = [];
  let area = 0;
  let room = 0;
  let sum = 0;
  let edge = 0;
  let border = 0;
  const inner = erode(framed(usable), 1);
  const rim = erode(mask, 1);
  for (let i = 0; i < mask.values.length; i++) {
    room += usable.values[i];
    if (mask.values[i] === 0) continue;
    area += 1;
    sum += plane.values[i];
    const x = i % width;
    const y = (i - x) / width;
    const atBorder = x === 0 || y === 0 || x === width - 1 || y === height - 1 || inner.values[i] === 0;
    if (rim.values[i] === 0 || atBorder) {
      edge += 1;
      if (atBorder) border += 1;
    }
  }
  if (sum / area < Math.max(FAINT * noise, FAINT_DENSITY)) found.push("faint");
  if (border / edge > EDGE_SHARE) found.push("border");
  if (area / room > LARGEST) found.push("large");
  if (area / room < SMALL) found.push("small");
  if (left > SEVERAL * area) found.push("several");
  return found;
}
