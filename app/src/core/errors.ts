/** The errors a person meets: a key of the translated sentences and what to fill in. */

import type { ErrorKey } from "../i18n/en";

export type ErrorParams = Record<string, string | number>;

/** An error that is told in a sentence (`errors` of the translations), never as a stack trace. */
export class AppError extends Error {
  constructor(
    readonly key: ErrorKey,
    readonly params: ErrorParams = {},
  ) {
    super(key);
    this.name = "AppError";
  }
}

/** What crosses from the worker to the page. */
export interface PlainError {
  key: ErrorKey;
  params: ErrorParams;
}

/** Reduce anything thrown to a sentence's key; the unexpected keeps its own words as `detail`. */
export function plainError(error: unknown): PlainError {
  if (error instanceof AppError) return { key: error.key, params: error.params };
  const detail = error instanceof Error ? error.message : String(error);
  return { key: "unexpected", params: { detail } };
}
