/** What the notebook holds. */

import type { Known } from "../core/metadata";
import type { ClassSpec, Domain } from "../core/spec";
import type { Reason } from "../core/abstention";
import type { Clinical, Measure } from "../patients/types";
import type { Capture, Concern, PredictiveValues } from "../core/verdict";

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
  /** Missing in older records. */
  clinical?: Clinical;
  /** ISO 8601 instants. */
  created: string;
  updated: string;
  /** When its own fields were written last, where `updated` counts its dates as well; missing in older records. */
  edited?: string;
  /** Other versions of what is written here, brought by imports and kept until the person has chosen. */
  conflicts?: Conflict[];
}

/** Another version of a case's own fields, or of what was written or measured on a date. */
export interface Conflict {
  /** When that version was written. */
  updated: string;
  /** The visit that it is of; without one it is the case. */
  visitId?: string;
  /** Of a visit: day, and outlines by the photograph's `id`, or else its place. */
  date?: string;
  measures?: { photo: string | number; measure: Measure }[];
  title?: string;
  site?: Site | null;
  note?: string;
  clinical?: Clinical;
}

/** One photograph of a visit, and what the model said of it. */
export interface VisitPhoto {
  /** Of a photograph that no model answered, which can be added to a visit and taken out of it. */
  id?: string;
  /** JPEG, scaled down for display, without the original's metadata. */
  image: Blob;
  width: number;
  height: number;
  /** Of this photograph alone. */
  probabilities: number[];
  reasons: Reason[];
  cam: { shape: [number, number, number]; values: number[] } | null;
  /** Outlines and scale, once measured. */
  measure?: Measure;
}

/** Which model answered. */
export interface ModelStamp {
  name: string;
  version: string;
  title: string;
  /** SHA-256 of the bundle's `spec.json`, which holds those of its other files. */
  digest: string;
}

/** One date: photographs of a lesion, and the answer about them where a model gave one. */
export interface Visit {
  id: string;
  caseId: string;
  /** Day, YYYY-MM-DD, in the person's own time zone. */
  date: string;
  note: string;
  photos: VisitPhoto[];
  classes: ClassSpec[];
  /** Of the photographs together; after age, sex and site, where these were known. */
  probabilities: number[];
  /** The malignant probability that is held against the line. */
  malignant: number | null;
  /** The line; its sensitivity and specificity on validation are missing in older records. */
  operatingPoint: { name: string; threshold: number; sensitivity?: number; specificity?: number } | null;
  /** What follows is missing in older records. */
  concerns?: Concern[];
  /** Age, sex and site, and what the model added for them to the logarithm of each class's probability. */
  beside?: { known: Known; ratios: number[] };
  taken?: Capture;
  /** What the model was made for. */
  domain?: Domain;
  /** The photographs look like different lesions. */
  differ?: boolean;
  /** The prediction set: codes of its classes, the most probable first. */
  set?: { coverage: number; codes: string[] };
  /** What the line said at the prevalence that the person had stated. */
  values?: PredictiveValues;
  /** When day, note, photographs or outlines were written last. */
  edited?: string;
  abstained: boolean;
  /** null: no model was asked, and there are no classes. */
  model: ModelStamp | null;
  created: string;
}
