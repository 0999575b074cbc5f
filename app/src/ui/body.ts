/** The drawn body: regions of a standing figure, seen from the front and from the back. */

import { agrees } from "../core/metadata";
import type { Site } from "../notebook/types";

/** Outline of the figure's box. */
export const FIGURE = { width: 200, height: 440 };

export interface Region {
  /** Part of the body, or "side.part" where it comes in pairs; the person's own left and right. */
  id: string;
  view: "front" | "back";
  path: string;
  /** Mirror the path at the middle of the figure. */
  mirrored: boolean;
  /** Where the marker goes when the region is chosen by name, in the figure's own units. */
  centre: [x: number, y: number];
}

type Shape = readonly [part: string, path: string, centre: [number, number]];

// Drawn on the viewer's left; the other side is its mirror image.
const PAIRED: readonly Shape[] = [
  ["upperArm", "M67 82 C54 82 48 92 46 106 L38 150 C42 157 51 159 56 155 L66 118 C68 106 68 94 67 82 Z", [53, 118]],
  ["forearm", "M37 153 C42 160 51 162 56 158 L47 206 C43 210 36 209 33 205 Z", [43, 181]],
  [
    "hand",
    "M33 208 C36 212 43 213 47 209 C51 219 50 231 44 238 C39 243 31 240 30 232 C29 224 30 216 33 208 Z",
    [40, 225],
  ],
  ["thigh", "M65 214 C76 224 88 230 98 231 L95 304 C89 310 78 310 72 305 C66 276 63 244 65 214 Z", [81, 266]],
  [
    "lowerLeg",
    "M72 308 C78 313 89 313 95 307 C98 326 95 348 91 368 L90 390 C87 393 82 393 79 390 C75 362 70 336 72 308 Z",
    [83, 348],
  ],
  [
    "foot",
    "M79 393 C82 396 87 396 90 393 C94 404 95 412 93 418 C87 424 75 424 68 419 C67 412 76 406 79 393 Z",
    [82, 410],
  ],
];

const HEAD = "M100 8 C115 8 122 20 121 34 C120 48 112 60 100 60 C88 60 80 48 79 34 C78 20 85 8 100 8 Z";
const NECK = "M90 60 C96 64 104 64 110 60 L111 72 C104 77 96 77 89 72 Z";
const UPPER =
  "M70 82 C78 77 86 75 90 75 C96 79 104 79 110 75 C114 75 122 77 130 82 C133 100 133 118 130 138 C112 145 88 145 70 138 C67 118 67 100 70 82 Z";
const MIDDLE =
  "M71 141 C88 148 112 148 129 141 C127 156 127 170 130 182 C112 189 88 189 70 182 C73 170 73 156 71 141 Z";
const LOWER =
  "M69 185 C88 192 112 192 131 185 C135 193 136 202 135 211 C124 221 112 227 100 228 C88 227 76 221 65 211 C64 202 65 193 69 185 Z";

const MIDLINE: Record<Region["view"], readonly Shape[]> = {
  front: [
    ["face", HEAD, [100, 36]],
    ["neck", NECK, [100, 69]],
    ["chest", UPPER, [100, 108]],
    ["abdomen", MIDDLE, [100, 165]],
    ["groin", LOWER, [100, 207]],
  ],
  back: [
    ["scalp", HEAD, [100, 32]],
    ["nape", NECK, [100, 69]],
    ["upperBack", UPPER, [100, 108]],
    ["lowerBack", MIDDLE, [100, 165]],
    ["buttocks", LOWER, [100, 207]],
  ],
};

function regionsOf(view: Region["view"]): Region[] {
  const middle = MIDLINE[view].map(([part, path, centre]): Region => ({
    id: part,
    view,
    path,
    centre,
    mirrored: false,
  }));
  const sides = PAIRED.flatMap(([part, path, [x, y]]): Region[] => [
    // Seen from the front, the person's right is on the viewer's left.
    { id: `${view === "front" ? "right" : "left"}.${part}`, view, path, centre: [x, y], mirrored: false },
    { id: `${view === "front" ? "left" : "right"}.${part}`, view, path, centre: [FIGURE.width - x, y], mirrored: true },
  ]);
  return [...middle, ...sides];
}

export const REGIONS: readonly Region[] = [...regionsOf("front"), ...regionsOf("back")];

/** A point of a region, in the figure's own units; its centre where none is given. */
export function siteAt({ id, view, centre }: Region, [x, y]: readonly [number, number] = centre): Site {
  return { region: id, view, x: x / FIGURE.width, y: y / FIGURE.height };
}

/** The region that a model's place names; null where it names none, or several. */
export function onlySite(told: string | undefined): Site | null {
  const [region, ...others] = REGIONS.filter(({ id }) => agrees(id, told));
  return region === undefined || others.length > 0 ? null : siteAt(region);
}
