import type { recordErrors, recordText } from "./en";

/** The record's sentences in another language. */
export interface RecordTranslation {
  text: Record<keyof typeof recordText, string>;
  errors: Record<keyof typeof recordErrors, string>;
}
