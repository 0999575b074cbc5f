/** Short messages at the edge of the page: what was done, and what went wrong. */

import { signal } from "@preact/signals";
import { type PlainError, plainError } from "../core/errors";
import type { TextKey } from "../i18n/en";

export type Notice = { id: number } & (
  | { kind: "error"; error: PlainError; /** what it is about, such as a file name */ subject?: string }
  | {
      kind: "done";
      text: TextKey;
      params?: Record<string, string | number>;
      /** Takes back what was done. */
      undo?: () => void;
    }
);

const LASTS = 10_000; // milliseconds; errors stay until they are dismissed
const UNDO_LASTS = 30_000;
const MOST = 3; // at a time; they share a phone's screen with what they are about

export const notices = signal<Notice[]>([]);
let next = 0;

/** An open dialog shows the messages since it was opened: the page behind it is out of reach. */
export interface Opened {
  since: number;
}

/** The topmost last. */
export const openDialogs = signal<readonly Opened[]>([]);

export const newDialog = (): Opened => ({ since: next });

/** @returns what takes the dialog off again */
export function dialogOpened(dialog: Opened): () => void {
  openDialogs.value = [...openDialogs.value, dialog];
  return () => (openDialogs.value = openDialogs.value.filter((other) => other !== dialog));
}

export function dismiss(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

/** Whether two messages say the same, so that the newer one takes the place of the older; not where that takes back something. */
function same(a: Notice, b: Notice): boolean {
  if (a.kind === "error")
    return b.kind === "error" && a.subject === b.subject && JSON.stringify(a.error) === JSON.stringify(b.error);
  return b.kind === "done" && a.text === b.text && a.undo === undefined && b.undo === undefined;
}

function show(notice: Notice): void {
  notices.value = [...notices.value.filter((other) => !same(other, notice)).slice(-(MOST - 1)), notice];
}

export function tellError(error: unknown, subject?: string): void {
  const plain = plainError(error);
  if (plain.key === "unexpected") console.error(error);
  const notice = { id: next++, kind: "error" as const, error: plain };
  if (subject === undefined) return show(notice);
  // Where there is no room for one more, a message names all files with the same fault: none of them is pushed out.
  const fault = JSON.stringify(plain);
  const alike = notices.value.flatMap((other) =>
    other.kind === "error" && other.subject !== undefined && JSON.stringify(other.error) === fault ? [other] : [],
  );
  const joined = notices.value.length < MOST ? undefined : alike.at(-1);
  if (joined === undefined) return show({ ...notice, subject });
  dismiss(joined.id);
  show({ ...notice, subject: [...new Set([...joined.subject!.split(", "), subject])].join(", ") });
}

/** @returns the message's identity, for `dismiss` */
export function tellDone(text: TextKey, params: Record<string, string | number> = {}, undo?: () => void): number {
  const id = next++;
  show({ id, kind: "done", text, params, ...(undo && { undo }) });
  setTimeout(() => dismiss(id), undo ? UNDO_LASTS : LASTS);
  return id;
}
