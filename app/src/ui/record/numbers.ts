/** Figures with their errors, in words. */

import type { Measured } from "../../measure/figures";
import { meta, t } from "../../i18n";
import { ROMAN } from "../../patients/types";

/** Decimals that show the error to one digit, two where it begins with 1. */
function decimals(error: number): number {
  if (!(error > 0)) return 1;
  const exponent = Math.floor(Math.log10(error));
  return Math.min(3, Math.max(0, (error / 10 ** exponent < 2 ? 1 : 0) - exponent));
}

/** In the manner of the language in use; `+ 0` takes the sign off a zero. */
function inWords(value: number, least: number, most: number): string {
  const digits = { minimumFractionDigits: least, maximumFractionDigits: most };
  return new Intl.NumberFormat(meta().locale, { ...digits, useGrouping: false }).format(
    Number(value.toFixed(most)) + 0,
  );
}

/** "12.4 ± 1.1 mm²" */
export function withError({ value, error }: Measured, unit: string): string {
  const digits = decimals(error);
  return `${inWords(value, digits, digits)} ± ${inWords(error, digits, digits)}\u00a0${unit}`;
}

/** "+12 ± 9 %" */
export function changeText({ value, error }: Measured): string {
  return `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(0)} ± ${error.toFixed(0)}\u00a0%`;
}

export const number = (value: number, digits = 2): string => inWords(value, 0, digits);

export const MM2 = "mm²";

export function skinTypeText(skinType: number | null): string {
  return skinType === null ? "" : t("skinTypeIs", { type: ROMAN[skinType - 1] });
}
