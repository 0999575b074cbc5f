import { expect, test } from "vitest";
import { en } from "../src/i18n/en";
import { zh } from "../src/i18n/zh";
import { REGIONS } from "../src/ui/body";

const sections = ["text", "errors", "parts"] as const;
const placeholders = (sentence: string): string[] => [...sentence.matchAll(/\{\w+\}/g)].map(([name]) => name).sort();

test.each(sections)("both languages have the same keys and placeholders in %s", (section) => {
  const english = en[section] as Record<string, string>;
  const chinese = zh[section] as Record<string, string>;
  expect(Object.keys(chinese).sort()).toEqual(Object.keys(english).sort());
  for (const key of Object.keys(english)) {
    expect(english[key].trim(), key).not.toBe("");
    expect(chinese[key].trim(), key).not.toBe("");
    expect(placeholders(chinese[key]), key).toEqual(placeholders(english[key]));
  }
});

test("Chinese sentences are Chinese", () => {
  for (const section of sections) {
    for (const [key, sentence] of Object.entries(zh[section])) {
      if (key === "listComma") continue;
      expect(sentence, key).toMatch(/\p{Script=Han}/u);
    }
  }
});

test("every region of the body has a name", () => {
  for (const { id } of REGIONS) expect(Object.keys(en.parts)).toContain(id.split(".").at(-1));
});
