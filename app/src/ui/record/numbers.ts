/** Figures with their errors, in words. */

import type { Measured } from "../../measure/figures";
import { decimal, t } from "../../i18n";
import { ROMAN } from "../../patients/types";

/** Decimals that show the error to one digit, two where it begins with 1. */
function decimals(error: number): number {
  if (!(error > 0)) return 1;
  const exponent = Math.floor(Math.log10(error));
  return Math.min(3, Math.max(0, (error / 10 ** exponent < 2 ? 1 : 0) - exponent));
}

/** "12.4 ± 1.1 mm²" */
export function withError({ value, error }: Measured, unit: string): string {
  const digits = decimals(error);
  return `${decimal(value, digits, digits)} ± ${decimal(error, digits, digits)}\u00a0${unit}`;
}

/** "+12 ± 9 %" */
export function changeText({ value, error }: Measured): string {
  const digits = decimals(error);
  const sign = value > 0 ? "+" : value < 0 ? "−" : "";
  return `${sign}${decimal(Math.abs(value), digits, digits)} ± ${decimal(error, digits, digits)}\u00a0%`;
}

export const number = (value: number, digits = 2): string => decimal(value, 0, digits);

export const MM2 = "mm²";

export function skinTypeText(skinType: number | null): string {
  return skinType === null ? "" : t("skinTypeIs", { type: ROMAN[skinType - 1] });
}
