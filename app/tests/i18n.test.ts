// @vitest-environment happy-dom

import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseSpec } from "../src/core/spec";
import { className, difference, finePercent, LANGUAGES, languageName, percent, siteName, speak, t } from "../src/i18n";
import { en, type Translation } from "../src/i18n/en";
import { REGIONS } from "../src/ui/body";
import { bundleFolders } from "./fixtures";

const sections = ["text", "errors", "parts"] as const;
const placeholders = (sentence: string): string[] => [...sentence.matchAll(/\{\w+\}/g)].map(([name]) => name).sort();

const files = import.meta.glob<Record<string, Translation>>("../src/i18n/??.ts", { eager: true });
const others = LANGUAGES.filter((code) => code !== "en").map((code) => {
  const translation = files[`../src/i18n/${code}.ts`][code];
  return [code, translation] as const;
});

afterAll(() => speak("en"));

test("a class is named as its model names it, before what the app calls it", async () => {
  await speak("es");
  expect(className({ en: "nevus", zh: "痣", names: { es: "lunar" } })).toBe("Lunar");
  expect(className({ en: "melanoma", zh: "黑色素瘤", names: { fr: "mélanome" } })).toBe("Melanoma");
  await speak("en");
});

test("every file of a language is a language", () => {
  expect(LANGUAGES).toEqual(["en", "es", "zh"]);
  expect(LANGUAGES.map(languageName)).toEqual(["English", "Español", "中文"]);
});

describe.each(others)("%s", (code, translation) => {
  test.each(sections)("has the keys and placeholders of English in %s", (section) => {
    const english = en[section] as Record<string, string>;
    const ours = translation[section] as Record<string, string>;
    expect(Object.keys(ours).sort()).toEqual(Object.keys(english).sort());
    for (const key of Object.keys(english)) {
      expect(ours[key].trim(), key).not.toBe("");
      expect(placeholders(ours[key]), key).toEqual(placeholders(english[key]));
    }
  });

  test("is not English", () => {
    const same = Object.entries(translation.text).filter(([key, sentence]) => en.text[key as "save"] === sentence);
    expect(same.map(([key]) => key).filter((key) => !["listComma", "cameraZoom"].includes(key))).toEqual([]);
  });

  test("names every class of every packaged bundle", async () => {
    await speak(code);
    for (const folder of bundleFolders()) {
      for (const label of parseSpec(readFileSync(path.join(folder, "spec.json"), "utf8")).classes) {
        const known = code === "zh" ? label.zh : translation.classes?.[label.en];
        expect(known, label.en).toBeTruthy();
        expect(className(label).toLowerCase()).toBe(known!.toLowerCase());
      }
    }
  });
});

test("Chinese sentences are Chinese", () => {
  const { zh } = Object.fromEntries(others);
  for (const section of sections) {
    for (const [key, sentence] of Object.entries(zh[section])) {
      if (key === "listComma") continue;
      expect(sentence, key).toMatch(/\p{Script=Han}/u);
    }
  }
});

test("sentences, numbers and places follow the language", async () => {
  await speak("es");
  expect(t("navNotebook")).toBe("Cuaderno");
  expect(percent(0.445)).toBe("45\u00a0%");
  expect(finePercent(0.0469)).toBe("4,7\u00a0%");
  expect(t("selfCheckPassed", { count: 2, pixels: difference(0.00392), probabilities: 0.5 })).toContain("0,0039");
  expect([difference(0), difference(1.23e-5)]).toEqual(["0", "1,2E-5"]);
  expect(t("took", { milliseconds: 1234.5 })).toContain("1234,5");
  expect(siteName({ region: "left.forearm", view: "front" })).toBe("Antebrazo, lado izquierdo");
  await speak("zh");
  expect(percent(0.445)).toBe("45%");
  await speak("xx"); // no such language
  expect(t("navNotebook")).toBe("Notebook");
  expect(percent(0.003)).toBe("<\u00a01\u00a0%");
});

test("every region of the body has a name", () => {
  for (const { id } of REGIONS) expect(Object.keys(en.parts)).toContain(id.split(".").at(-1));
});
