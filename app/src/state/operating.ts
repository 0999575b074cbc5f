/** Which operating point the malignant share is held against. */

import { signal } from "@preact/signals";
import type { OperatingPoint, Spec } from "../core/spec";
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
