/** What the page asks of the worker, and what it gets. */

import type { PlainError } from "../core/errors";
import type { Edit, Size } from "../core/geometry";
import type { GoldenDifference } from "../core/golden";
import type { Hint } from "../core/quality";
import type { Spec } from "../core/spec";
import type { Modality, Reason } from "../core/abstention";

/** Where a bundle's files are. */
export type BundleSource =
  | {
      kind: "url";
      /** of the folder, with a trailing slash */ base: string;
      /** SHA-256 of each file */ digests: Record<string, string>;
    }
  | { kind: "files"; spec: string; files: Record<string, Blob> };

/** The graph's class-activation maps. */
export interface Cams {
  shape: [classes: number, height: number, width: number];
  values: Float32Array<ArrayBuffer>;
}

/** Milliseconds of each step. */
export interface Timing {
  decode: number;
  resize: number;
  infer: number;
  total: number;
}

/** What the model says about one photograph. */
export interface Analysis {
  probabilities: number[];
  logits: number[];
  embedding: number[];
  cam: Cams | null;
  reasons: Reason[];
  hints: Hint[];
  /** The part that was classified, scaled down for display. */
  picture: ImageBitmap;
  /** Size of that part in the photograph's own pixels. */
  size: Size;
  timing: Timing;
}

export interface Calls {
  /** Load a bundle in the place of the one before, which stays where that fails. */
  open: { request: BundleSource; response: { spec: Spec; card: string; milliseconds: number } };
  classify: { request: { blob: Blob; edit: Edit }; response: Analysis };
  /** The most probable kind of picture; null where the open bundle does not tell kinds. */
  kind: { request: { blob: Blob; edit: Edit }; response: Modality | null };
  /** The edited photograph, its longer side at most `side` pixels: for the crop editor, and at full size. */
  preview: { request: { blob: Blob; edit: Edit; side?: number }; response: { picture: ImageBitmap; size: Size } };
  /** Run the golden vectors of the open bundle on this very device. */
  check: { request: null; response: GoldenDifference[] };
  /** Make the open bundle's graph ready for the first photograph. */
  warmUp: { request: null; response: null };
}

export type CallName = keyof Calls;

export type Request = { [Name in CallName]: { id: number; name: Name; request: Calls[Name]["request"] } }[CallName];

export type Response = { id: number; ok: true; value: unknown } | { id: number; ok: false; error: PlainError };
