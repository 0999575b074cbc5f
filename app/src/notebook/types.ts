/** What the notebook holds. */

import type { ClassSpec } from "../core/spec";
import type { Reason } from "../core/trust";

/** A place on the body: a region of the drawn figure and a point in it. */
export interface Site {
  region: string;
  view: "front" | "back";
  /** Fractions of the figure's width and height. */
  x: number;
  y: number;
}

/** One lesion that is followed over time. */
export interface Case {
  id: string;
  title: string;
  site: Site | null;
  note: string;
  /** ISO 8601 instants. */
  created: string;
  updated: string;
}

/** One photograph of a visit, and what the model said of it. */
export interface VisitPhoto {
  /** JPEG, scaled down for display, without the original's metadata. */
  image: Blob;
  width: number;
  height: number;
  probabilities: number[];
  reasons: Reason[];
  cam: { shape: [number, number, number]; values: number[] } | null;
}

/** Which model answered. */
export interface ModelStamp {
  name: string;
  version: string;
  title: string;
  /** SHA-256 of the bundle's `spec.json`, which holds those of its other files. */
  digest: string;
}

/** One date: photographs of a lesion and the answer about them. */
export interface Visit {
  id: string;
  caseId: string;
  /** Day, YYYY-MM-DD, in the person's own time zone. */
  date: string;
  note: string;
  photos: VisitPhoto[];
  classes: ClassSpec[];
  probabilities: number[];
  malignant: number | null;
  operatingPoint: { name: string; threshold: number } | null;
  abstained: boolean;
  model: ModelStamp;
  created: string;
}
