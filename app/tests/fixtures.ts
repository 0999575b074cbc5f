/** Where the tests' files are, and how they are read. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { Quality } from "../src/core/quality";

export const FIXTURES = path.join(import.meta.dirname, "fixtures");
export const PHOTOS = path.join(FIXTURES, "photos");
export const BUNDLES = path.join(FIXTURES, "bundles");
const PACKAGED = path.join(import.meta.dirname, "../../lentigo/bundles");

/** What Python answers about a photograph. */
export interface Expected {
  pixels: string;
  atypicality: number;
  quality: Quality;
  /** How many of either Python finds. */
  reasons: number;
  hints: number;
  probabilities: number[];
  logits: number[];
}

export function bytesOf(...parts: string[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(path.join(...parts)));
}

export function textOf(...parts: string[]): string {
  return readFileSync(path.join(...parts), "utf8");
}

export function photo(name: string): File {
  return new File([bytesOf(PHOTOS, name)], name);
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(text, "base64"));
}

export const expected = JSON.parse(textOf(FIXTURES, "expected.json")) as Record<string, Expected>;

/** Folders of every bundle at hand: the tests' own, and those packaged with lentigo where there are any. */
export function bundleFolders(): string[] {
  return [BUNDLES, PACKAGED]
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => path.join(folder, name)))
    .filter((folder) => existsSync(path.join(folder, "spec.json")));
}

/** (H, W, 3) to (H, W, 4), opaque. */
export function opaque(rgb: Uint8Array): Uint8ClampedArray {
  const rgba = new Uint8ClampedArray((rgb.length / 3) * 4).fill(255);
  for (let i = 0; i < rgb.length / 3; i++) rgba.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
  return rgba;
}
