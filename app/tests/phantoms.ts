/** Drawn skin of known geometry, seeded: a dark lesion or pale patches under visible light or Wood's lamp. Not skin; figures on it say how exact the method is, no more. */

import type { Affine } from "../src/core/geometry";
import { signedArea } from "../src/measure/contour";
import { between } from "../src/measure/hair";
import type { Pixels, Point } from "../src/measure/raster";
import { applied, invert } from "../src/register/register";

/** A small generator of random numbers in [0, 1) (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** An irregular closed shape about a centre: a circle bent by a few waves. */
export function blob(centre: Point, radius: number, turn: number, seed: number, roughness = 0.12): Point[] {
  const draw = random(seed);
  const waves = [2, 3, 4, 5, 7].map((k) => ({
    k,
    size: (roughness * 2 * draw()) / Math.sqrt(k),
    phase: 2 * Math.PI * draw(),
  }));
  return Array.from({ length: 360 }, (_, i) => {
    const angle = (2 * Math.PI * i) / 360;
    const r = radius * (1 + waves.reduce((sum, { k, size, phase }) => sum + size * Math.cos(k * angle + phase), 0));
    return { x: centre.x + r * Math.cos(angle + turn), y: centre.y + r * Math.sin(angle + turn) };
  });
}

export interface Scene {
  width: number;
  height: number;
  kind: "dark" | "pale" | "wood";
  shapes: Point[][];
  hairs?: number;
  darkCorners?: boolean;
  /** Ratio of the light on one side to that on the other. */
  unevenLight?: number;
  seed?: number;
  /** Skin's colour; the phantom's own unless given. */
  skin?: [number, number, number];
}

const COLOURS: Record<Scene["kind"], { skin: [number, number, number]; lesion: [number, number, number] }> = {
  dark: { skin: [208, 160, 138], lesion: [112, 70, 54] },
  pale: { skin: [176, 128, 102], lesion: [228, 202, 188] },
  wood: { skin: [34, 30, 92], lesion: [120, 140, 214] },
};

export const trueArea = (shapes: readonly Point[][]): number =>
  shapes.reduce((sum, shape) => sum + Math.abs(signedArea(shape)), 0);

/** Share of each pixel that lies inside the shapes, from 4 x 4 samples. */
function coverage(scene: Scene): Float32Array {
  const { width, height } = scene;
  const fine = 4;
  const out = new Float32Array(width * height);
  for (const shape of scene.shapes) {
    for (let line = 0; line < height * fine; line++) {
      const y = (line + 0.5) / fine;
      const crossings: number[] = [];
      shape.forEach((a, i) => {
        const b = shape[(i + 1) % shape.length];
        if (a.y <= y !== b.y <= y) crossings.push(a.x + ((y - a.y) / (b.y - a.y)) * (b.x - a.x));
      });
      crossings.sort((p, q) => p - q);
      for (let i = 0; i + 1 < crossings.length; i += 2) {
        for (
          let s = Math.max(0, Math.ceil(crossings[i] * fine - 0.5));
          s <= Math.min(width * fine - 1, crossings[i + 1] * fine - 0.5);
          s++
        ) {
          out[(line >> 2) * width + (s >> 2)] += 1 / (fine * fine);
        }
      }
    }
  }
  return out;
}

/** Smooth noise between -1 and 1 with a grain of `size` pixels. */
function texture(width: number, height: number, size: number, draw: () => number): Float32Array {
  const columns = Math.ceil(width / size) + 2;
  const grid = Float32Array.from({ length: columns * (Math.ceil(height / size) + 2) }, () => 2 * draw() - 1);
  const out = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [gx, gy] = [x / size, y / size];
      const [left, top] = [Math.floor(gx), Math.floor(gy)];
      const [fx, fy] = [gx - left, gy - top];
      const at = (i: number, j: number): number => grid[(top + j) * columns + left + i];
      out[y * width + x] =
        (at(0, 0) * (1 - fx) + at(1, 0) * fx) * (1 - fy) + (at(0, 1) * (1 - fx) + at(1, 1) * fx) * fy;
    }
  }
  return out;
}

export function render(scene: Scene): Pixels {
  const { width, height, kind } = scene;
  const draw = random(scene.seed ?? 1);
  const colours = COLOURS[kind];
  const skin = scene.skin ?? colours.skin;
  const inside = coverage(scene);
  const coarse = texture(width, height, width / 12, draw);
  const grain = texture(width, height, Math.max(2, width / 160), draw);
  const spots = texture(width, height, width / 40, draw);
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x;
      let light = 1 + 0.02 * coarse[i] + 0.03 * grain[i] + 0.015 * (draw() - 0.5);
      if (scene.unevenLight !== undefined) {
        const across = (0.8 * x) / width + (0.6 * y) / height;
        light *= 1 + (scene.unevenLight - 1) * (across / 1.4) - (scene.unevenLight - 1) / 2;
      }
      let dim = 1;
      if (scene.darkCorners) {
        const r = Math.hypot(x - width / 2, y - height / 2) / (Math.min(width, height) / 2);
        light *= 1 - 0.12 * Math.min(1, r) ** 2;
        dim = Math.min(1, Math.max(0, (1.12 - r) * 25));
      }
      for (let c = 0; c < 3; c++) {
        const lesion = colours.lesion[c] * (1 + (kind === "dark" ? 0.22 : 0.06) * spots[i]);
        data[i * 4 + c] = dim * light * (skin[c] * (1 - inside[i]) + lesion * inside[i]) + (1 - dim) * 6;
      }
      data[i * 4 + 3] = 255;
    }
  }
  for (let k = 0; k < (scene.hairs ?? 0); k++) hair(data, width, height, kind, draw);
  return { width, height, data };
}

/** A hair right across, bent a little. */
function hair(data: Uint8ClampedArray, width: number, height: number, kind: Scene["kind"], draw: () => number): void {
  const angle = Math.PI * draw();
  const middle = { x: width * (0.2 + 0.6 * draw()), y: height * (0.2 + 0.6 * draw()) };
  const length = Math.hypot(width, height) * (0.4 + 0.6 * draw());
  const bend = 0.15 * (draw() - 0.5);
  const thick = (width / 384) * (0.8 + 1.2 * draw());
  const colour = kind === "wood" ? [16, 14, 40] : [42, 30, 26];
  for (let s = -length / 2; s < length / 2; s += 0.5) {
    const turned = angle + (bend * s) / length;
    const x = middle.x + s * Math.cos(turned);
    const y = middle.y + s * Math.sin(turned);
    const reach = Math.ceil(thick);
    for (let py = Math.floor(y) - reach; py <= y + reach; py++) {
      for (let px = Math.floor(x) - reach; px <= x + reach; px++) {
        if (px < 0 || py < 0 || px >= width || py >= height) continue;
        const share = Math.min(1, Math.max(0, thick / 2 + 0.5 - Math.hypot(px + 0.5 - x, py + 0.5 - y)));
        for (let c = 0; c < 3; c++) {
          const at = (py * width + px) * 4 + c;
          data[at] = Math.min(data[at], data[at] * (1 - share) + colour[c] * share);
        }
      }
    }
  }
}

/**
 * A scene seen again: turned clockwise, zoomed and moved about its middle by known amounts, with its own light and noise.
 *
 * The skin's texture moves with it, since the picture itself is warped.
 */
export function warped(
  scene: Scene,
  degrees: number,
  zoom: number,
  dx: number,
  dy: number,
  seed: number,
): { pixels: Pixels; fixedToMoving: Affine } {
  const { width, height } = scene;
  const source = render(scene);
  const angle = (degrees * Math.PI) / 180;
  const [c, s] = [zoom * Math.cos(angle), zoom * Math.sin(angle)];
  const fixedToMoving: Affine = [
    c,
    s,
    -s,
    c,
    width / 2 + dx - (c * width) / 2 + (s * height) / 2,
    height / 2 + dy - (s * width) / 2 - (c * height) / 2,
  ];
  const back = invert(fixedToMoving);
  const draw = random(seed);
  const data = new Uint8ClampedArray(source.data.length).fill(255);
  const planes = [0, 1, 2].map((channel) => ({
    width,
    height,
    values: Float32Array.from({ length: width * height }, (_, i) => source.data[i * 4 + channel]),
  }));
  for (let i = 0; i < width * height; i++) {
    const at = applied(back, { x: (i % width) + 0.5, y: Math.floor(i / width) + 0.5 });
    const light = 0.85 + (0.3 * (i % width)) / width + 0.02 * (draw() - 0.5);
    for (let channel = 0; channel < 3; channel++) {
      data[i * 4 + channel] = light * between(planes[channel], at.x - 0.5, at.y - 0.5);
    }
  }
  return { pixels: { width, height, data }, fixedToMoving };
}
