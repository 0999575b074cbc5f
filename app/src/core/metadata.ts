/** Age, sex and body site beside the image, by Bayes' rule: `lentigo.bundle.Metadata` in Python. */

import { malignantProbability } from "./probabilities";
import type { ClassSpec, Spec } from "./spec";
import { AGES } from "./spec.generated";

export const FIELDS = ["age", "sex", "site"] as const;
export type Field = (typeof FIELDS)[number];

/** What is known: an age in years, a sex, a site of the model or a part of the body map. What is missing is not known. */
export type Known = Partial<Record<Field, string>>;

export const MAX_AGE = 130;

/** What models call the parts of the body map. */
const SITES: Record<string, readonly string[]> = {
  nape: ["neck"],
  chest: ["trunk"],
  abdomen: ["trunk"],
  groin: ["genital"],
  upperBack: ["back", "trunk"],
  lowerBack: ["back", "trunk"],
  upperArm: ["arm", "upper extremity"],
  forearm: ["upper extremity"],
  hand: ["upper extremity"],
  thigh: ["lower extremity"],
  lowerLeg: ["leg", "lower extremity"],
  foot: ["lower extremity"],
};

/** The part of the body that a region of the body map belongs to: "forearm" of "left.forearm". */
export const partOf = (region: string): string => region.split(".").at(-1)!;

/** What models may call a region of the body map, the most exact first. */
const namesOf = (region: string): readonly string[] => [partOf(region), ...(SITES[partOf(region)] ?? [])];

/** Places that models know apart, and the body map does not. */
const WITHIN: Record<string, string> = { ear: "face", lip: "face", nose: "face" };

/** Whether a region of the body map and a place as it was told (a part of the map, or a model's own name) agree. */
export const agrees = (region: string, told: string | undefined): boolean =>
  told !== undefined && namesOf(region).includes(WITHIN[told] ?? told);

/** The value of a field as a model's table names it; null where it is not known, or not to the model. */
export function valueIn(table: Record<string, unknown>, field: Field, told: string | undefined): string | null {
  const text = told?.trim() ?? "";
  if (field !== "age") return namesOf(text).find((name) => name in table) ?? null;
  const years = Number(text);
  if (text === "" || !(years >= 0 && years <= MAX_AGE)) return null;
  const band = String(Math.max(...AGES.filter((first) => first <= years))); // a band is called by its first year
  return band in table ? band : null;
}

/** What of that a model takes. */
export function usedBy({ metadata }: Spec, known: Known): Known {
  const used = FIELDS.flatMap((field) => {
    const table = metadata?.log_ratios[field];
    const told = known[field];
    return table && told && valueIn(table, field, told) !== null ? [[field, told] as const] : [];
  });
  return Object.fromEntries(used);
}

/** What is added to the logarithm of each class's probability, (K,); null where nothing is known. */
export function logRatios(metadata: Spec["metadata"], known: Known): number[] | null {
  const found = FIELDS.flatMap((field) => {
    const table = metadata?.log_ratios[field];
    const value = table && valueIn(table, field, known[field]);
    return value ? [table[value]] : [];
  });
  return found.length === 0 ? null : found[0].map((_, k) => found.reduce((sum, ratios) => sum + ratios[k], 0));
}

/** Probabilities after the metadata; the same where nothing is known. */
export function reweigh(probabilities: readonly number[], ratios: readonly number[] | null): readonly number[] {
  if (ratios === null) return probabilities;
  const scaled = probabilities.map((p, k) => p * Math.exp(ratios[k]));
  const sum = scaled.reduce((total, p) => total + p, 0);
  return scaled.map((p) => p / sum);
}

/** The malignant probability that is held against the line: metadata can raise concern and never lower it. */
export function heldProbability(alone: number | null, both: number | null): number | null {
  return alone === null || both === null ? null : Math.max(alone, both);
}

/** That of one photograph. */
export function heldOf(
  probabilities: readonly number[],
  ratios: readonly number[] | null,
  classes: readonly ClassSpec[],
): number | null {
  return heldProbability(
    malignantProbability(probabilities, classes),
    malignantProbability(reweigh(probabilities, ratios), classes),
  );
}
