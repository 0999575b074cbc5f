/** Which operating point the malignant probability is held against, and what it says at a stated prevalence. */

import { signal } from "@preact/signals";
import type { OperatingPoint, Spec } from "../core/spec";
import { type PredictiveValues, predictiveValues } from "../core/verdict";
import { readSetting, writeSetting } from "./storage";

const chosenName = signal(readSetting("operating-point"));

/** The operating point chosen last, or the model's first; null where it has none. */
export function operatingPoint(spec: Spec): OperatingPoint | null {
  return spec.operating_points.find((point) => point.name === chosenName.value) ?? spec.operating_points[0] ?? null;
}

export function chooseOperatingPoint(name: string): void {
  chosenName.value = name;
  writeSetting("operating-point", name);
}

/** Of 100 lesions that the person sees, how many are malignant, as typed; empty where that was not stated. */
export const prevalencePercent = signal(readSetting("prevalence") ?? "");

export function choosePrevalence(percent: string): void {
  prevalencePercent.value = percent;
  writeSetting("prevalence", percent);
}

/** What the chosen line says at the stated prevalence; null where none is stated or the bundle lacks the figures. */
export function chosenValues(spec: Spec): PredictiveValues | null {
  const [point, percent] = [operatingPoint(spec), Number(prevalencePercent.value)];
  return point !== null && percent > 0 && percent < 100 ? predictiveValues(spec, point.name, percent / 100) : null;
}
