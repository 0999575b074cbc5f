/** Sentences in the person's language, numbers and dates in its manner. */

import { signal } from "@preact/signals";
import type { ErrorKey, TextKey, Translation } from "./en";
import { en } from "./en";
import type { PlainError } from "../core/errors";
import type { Site } from "../notebook/types";

// Each language but English is fetched when it is chosen.
const files = import.meta.glob<Record<string, Translation>>(["./??.ts", "!./en.ts"]);

/** Codes of every language there is, such as "en". */
export const LANGUAGES = ["en", ...Object.keys(files).map((path) => path.slice(2, 4))].sort();

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A language's name in itself. */
export function languageName(code: string): string {
  return capital(new Intl.DisplayNames([code], { type: "language" }).of(code) ?? code);
}

const translation = signal<Translation>(en);
export const language = signal("en");

/** Speak a language from now on; one that cannot be fetched leaves the one in use. */
export async function speak(code: string): Promise<void> {
  const load = files[`./${code}.ts`];
  const spoken = code === "en" || load === undefined ? en : (await load())[code];
  translation.value = spoken;
  language.value = spoken === en ? "en" : code;
}

/** Attributes of the language in use. */
export function meta(): Translation["meta"] {
  return translation.value.meta;
}

export type Params = Record<string, string | number>;

/** Put parameters into a sentence: `{name}` becomes `params.name`. */
export function fill(sentence: string, params: Params = {}): string {
  const inWords = (value: string | number): string => (typeof value === "number" ? decimal(value, 0, 3) : value);
  return sentence.replace(/\{(\w+)\}/g, (whole, name: string) => (name in params ? inWords(params[name]) : whole));
}

/** A number with between `least` and `most` decimals; `+ 0` takes the sign off a zero. */
export function decimal(value: number, least: number, most: number): string {
  const digits = { minimumFractionDigits: least, maximumFractionDigits: most };
  return new Intl.NumberFormat(meta().locale, { ...digits, useGrouping: false }).format(
    Number(value.toFixed(most)) + 0,
  );
}

/** A small difference to two digits: "0.0039", "1.2E-5". */
export function difference(value: number): string {
  const fine = value !== 0 && value < 1e-3;
  const digits = { maximumSignificantDigits: 2, ...(fine && { notation: "scientific" as const }) };
  return new Intl.NumberFormat(meta().locale, digits).format(value);
}

export function t(key: TextKey, params?: Params): string {
  return fill(translation.value.text[key], params);
}

export function errorText(error: PlainError): string {
  return fill(translation.value.errors[error.key as ErrorKey], error.params);
}

/** A probability as a percentage; what is nearly none or nearly all, but not quite, says so. */
export function percent(value: number): string {
  if (value > 0 && value < 0.01) return `<${gap()}1${gap()}%`;
  if (value > 0.99 && value < 1) return `>${gap()}99${gap()}%`;
  return `${Math.round(value * 100)}${gap()}%`;
}

/** Between a number and its unit: a space that does not break, or none. */
function gap(): string {
  return meta().spaced ? "\u00a0" : "";
}

/** A threshold or a rate, to a tenth of a percent where that matters. */
export function finePercent(value: number): string {
  const digits = value < 0.1 ? 1 : 0;
  const format = new Intl.NumberFormat(meta().locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${format.format(value * 100)}${gap()}%`;
}

export function fileSize(bytes: number): string {
  const [unit, factor] = bytes >= 1e9 ? ["GB", 1e9] : bytes >= 1e6 ? ["MB", 1e6] : ["kB", 1e3];
  return `${new Intl.NumberFormat(meta().locale, { maximumSignificantDigits: 2 }).format(bytes / Number(factor))}\u00a0${unit}`;
}

/** A day given as YYYY-MM-DD. */
export function dayText(day: string): string {
  const [year, month, date] = day.split("-").map(Number);
  return new Intl.DateTimeFormat(meta().locale, { dateStyle: "medium" }).format(new Date(year, month - 1, date));
}

/** Today as YYYY-MM-DD in the person's time zone. */
export function today(): string {
  const now = new Date();
  return `${now.getFullYear()}-${String(now.getMonth() + 1).padStart(2, "0")}-${String(now.getDate()).padStart(2, "0")}`;
}

/** A class's names: English, Chinese, and others by language. */
export interface ClassNames {
  en: string;
  zh: string;
  names?: Record<string, string>;
}

/** A class's plain name. */
export function className(label: ClassNames): string {
  const own = language.value === "zh" ? label.zh : label.names?.[language.value];
  return capital(own ?? translation.value.classes?.[label.en] ?? label.en);
}

/** The title of a lesion that was given none: its place, or else its first day. */
export function untitled(site: Site | null, day: string): string {
  return site === null ? t("untitled", { date: dayText(day) }) : siteName(site);
}

/** The name of a part of the body; a model's own where the app has none. */
export function partName(part: string): string {
  const parts = translation.value.parts as Record<string, string>;
  return parts[part] ?? part;
}

export function sexName(sex: string): string {
  return sex === "female" || sex === "male" ? t(sex) : sex;
}

/** A body site's name, such as "left forearm, front". */
export function siteName(site: Pick<Site, "region" | "view"> | null): string {
  if (site === null) return t("siteNone");
  const [side, part] = site.region.includes(".") ? site.region.split(".") : ["", site.region];
  const name = partName(part);
  if (side === "") return name;
  return t(side === "left" ? "siteLeft" : "siteRight", { part: name });
}
