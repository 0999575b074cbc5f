/** Records that the tests keep, export and validate. */

import type { CaseWithVisits } from "../src/notebook/cases";
import type { Case, Visit, VisitPhoto } from "../src/notebook/types";

export const JPEG = new Blob([new Uint8Array([255, 216, 255, 217])], { type: "image/jpeg" });

const CLASSES = [
  { code: "mel", en: "melanoma", zh: "黑色素瘤", malignant: true },
  { code: "nv", en: "melanocytic nevus", zh: "黑色素细胞痣", malignant: false },
];

/** A kept photograph of one pixel. */
export const photoOf = (probabilities: number[]): VisitPhoto => ({
  image: new Blob(),
  width: 1,
  height: 1,
  probabilities,
  reasons: [],
  cam: null,
});

/** One photograph, answered by a model of two classes. `Image` is a blob in the database and text in an export. */
export function visitOf<Image>(
  id: string,
  date: string,
  image: Image,
  photo: Partial<Pick<VisitPhoto, "width" | "height" | "measure" | "cam">> = {},
): Omit<Visit, "caseId" | "photos"> & { photos: (Omit<VisitPhoto, "image"> & { image: Image })[] } {
  return {
    id,
    date,
    note: "",
    photos: [{ image, width: 400, height: 300, probabilities: [0.25, 0.75], reasons: [], cam: null, ...photo }],
    classes: CLASSES.map((label) => ({ ...label })),
    probabilities: [0.25, 0.75],
    malignant: 0.25,
    operatingPoint: { name: "sensitivity-95", threshold: 0.2 },
    abstained: false,
    model: { name: "alpha", version: "1", title: "Alpha", digest: "0".repeat(64) },
    created: `${date}T10:00:00.000Z`,
  };
}

export function caseOf(id: string, title: string, visits: readonly Omit<Visit, "caseId">[] = []): CaseWithVisits {
  return {
    id,
    title,
    site: { region: "left.forearm", view: "front", x: 0.7, y: 0.4 },
    note: "",
    created: "2024-01-01T00:00:00.000Z",
    updated: visits.at(-1)?.created ?? "2024-01-01T00:00:00.000Z",
    visits: visits.map((visit) => ({ ...visit, caseId: id })),
  };
}

export const bare = ({ visits: _, ...fields }: CaseWithVisits): Case => fields;
