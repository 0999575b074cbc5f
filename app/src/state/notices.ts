/** Short messages at the edge of the page: what was done, and what went wrong. */

import { signal } from "@preact/signals";
import { type PlainError, plainError } from "../core/errors";
import type { TextKey } from "../i18n/en";

export type Notice = { id: number } & (
  | { kind: "error"; error: PlainError; /** what it is about, such as a file name */ subject?: string }
  | { kind: "done"; text: TextKey; params?: Record<string, string | number> }
);

const LASTS = 6000; // milliseconds; errors stay until they are dismissed

export const notices = signal<Notice[]>([]);
let next = 0;

export function dismiss(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

export function tellError(error: unknown, subject?: string): void {
  const plain = plainError(error);
  if (plain.key === "unexpected") console.error(error);
  const notice: Notice = { id: next++, kind: "error", error: plain, ...(subject === undefined ? {} : { subject }) };
  notices.value = [...notices.value.slice(-3), notice];
}

export function tellDone(text: TextKey, params: Record<string, string | number> = {}): void {
  const id = next++;
  const others = notices.value.filter((notice) => notice.kind === "error" || notice.text !== text);
  notices.value = [...others.slice(-3), { id, kind: "done", text, params }];
  setTimeout(() => dismiss(id), LASTS);
}
