/** What the person chose for the app itself: language, colours, and that the notice was read. */

import { effect, signal } from "@preact/signals";
import { LANGUAGES, meta, speak } from "../i18n";
import { readSetting, writeSetting } from "./storage";

export type Theme = "auto" | "light" | "dark";

function initialLanguage(): string {
  const wanted = [readSetting("language"), ...navigator.languages.map((tag) => tag.toLowerCase().split("-")[0])];
  return wanted.find((code) => code !== null && LANGUAGES.includes(code)) ?? "en";
}

/** Speak the language chosen last, or the browser's. */
export async function startLanguage(): Promise<void> {
  await speak(initialLanguage()).catch(() => undefined); // not to be fetched: English
}

function initialTheme(): Theme {
  const stored = readSetting("theme");
  return stored === "light" || stored === "dark" ? stored : "auto";
}

/** `--ground` of styles/tokens.css. */
const GROUNDS = { light: "#f4f6f4", dark: "#0f1614" } as const;

export const theme = signal<Theme>(initialTheme());
export const noticeRead = signal(readSetting("notice") === "read");

export async function chooseLanguage(code: string): Promise<void> {
  await speak(code);
  writeSetting("language", code);
}

export function chooseTheme(chosen: Theme): void {
  theme.value = chosen;
  writeSetting("theme", chosen);
}

export function readNotice(): void {
  noticeRead.value = true;
  writeSetting("notice", "read");
}

effect(() => {
  document.documentElement.lang = meta().lang;
});

effect(() => {
  if (theme.value === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
  // The browser's own frame has the colour of the page.
  for (const tag of document.querySelectorAll<HTMLMetaElement>("meta[name=theme-color]")) {
    const own = tag.media.includes("dark") ? "dark" : "light";
    tag.content = GROUNDS[theme.value === "auto" ? own : theme.value];
  }
});
