/** What the person chose for the app itself: language, colours, and that the notice was read. */

import { effect, signal } from "@preact/signals";
import { readSetting, writeSetting } from "./storage";

export type Language = "en" | "zh";
export type Theme = "auto" | "light" | "dark";

function initialLanguage(): Language {
  const stored = readSetting("language");
  if (stored === "en" || stored === "zh") return stored;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

function initialTheme(): Theme {
  const stored = readSetting("theme");
  return stored === "light" || stored === "dark" ? stored : "auto";
}

export const language = signal<Language>(initialLanguage());
export const theme = signal<Theme>(initialTheme());
export const noticeRead = signal(readSetting("notice") === "read");

export function chooseLanguage(chosen: Language): void {
  language.value = chosen;
  writeSetting("language", chosen);
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
  document.documentElement.lang = language.value === "zh" ? "zh-Hans" : "en";
});

effect(() => {
  if (theme.value === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
});
