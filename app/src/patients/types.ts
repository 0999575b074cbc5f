/** What is kept of a patient, and what a clinician adds to a lesion and its photographs. */

import type { RegionScore, ScoredRegion } from "../hypo/vasi";
import type { Point } from "../measure/raster";
import type { Scale } from "../measure/scale";
import type { Target } from "../measure/segment";

/** No more than is needed: a code, not a name. */
export interface Patient {
  id: string;
  code: string;
  birthYear: number | null;
  /** Fitzpatrick's skin type. */
  skinType: 1 | 2 | 3 | 4 | 5 | 6 | null;
  note: string;
  /** ISO 8601 instants. */
  created: string;
  updated: string;
}

/** Skin types in Fitzpatrick's Roman numerals. */
export const ROMAN = ["I", "II", "III", "IV", "V", "VI"] as const;

/** What the clinician says of a lesion, beside the model's answer. */
export interface Clinical {
  patientId: string | null;
  diagnosis: string;
  histology: string;
  /** Day of the next look, YYYY-MM-DD. */
  reminder: string | null;
}

export const NO_CLINICAL: Clinical = { patientId: null, diagnosis: "", histology: "", reminder: null };

/** Outlines on one photograph, in its own pixels. */
export interface Measure {
  target: Target;
  shapes: Point[][];
  /** The outlines are as the app proposed them; false: a person has drawn or corrected them. */
  proposed: boolean;
  scale: Scale | null;
}

/** One photograph of a region, in daylight or under Wood's lamp. */
export interface SheetPhoto {
  /** JPEG, scaled down, without the original's metadata. */
  image: Blob;
  width: number;
  height: number;
  measure: Measure;
  /** Outline of the region in the photograph, for "per cent of the region"; null where none was drawn. */
  region: Point[] | null;
}

/** Two photographs of one region in one pose. */
export interface PhotoPair {
  id: string;
  region: ScoredRegion;
  visible: SheetPhoto | null;
  wood: SheetPhoto | null;
}

/** One date of a patient with hypopigmented disease. */
export interface Sheet {
  id: string;
  patientId: string;
  /** Day, YYYY-MM-DD. */
  date: string;
  /** Code of the picking list, or empty. */
  diagnosis: string;
  treatment: string;
  note: string;
  scores: RegionScore[];
  pairs: PhotoPair[];
  /** The sheet that this is another version of, brought by an import and kept until the person has chosen. */
  versionOf?: string;
  created: string;
  updated: string;
}
