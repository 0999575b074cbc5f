/** A page about one record: read when it is opened and whenever the notebook changes; gone and damaged ones are told apart. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { type PlainError, plainError } from "../core/errors";
import { errorText, t } from "../i18n";
import type { TextKey } from "../i18n/en";
import { tellError } from "../state/notices";
import { routeHash } from "../state/route";
import { useRead } from "./useRead";

interface Props<Found> {
  id: string;
  read: (id: string) => Promise<Found | null>;
  /** What is said where there is no such record. */
  gone: TextKey;
  /** The page to go to from there. */
  back: "notebook" | "patients";
  children: (found: Found) => ComponentChildren;
}

export function Kept<Found>({ id, read, gone, back, children }: Props<Found>) {
  const shown = useSignal<{ id: string; found: Found | null } | { id: string; error: PlainError } | null>(null);
  const asked = useSignal(0);
  useRead(
    () => read(id),
    (found) => (shown.value = { id, found }),
    (error) => {
      const before = shown.peek();
      // What is on the page may hold words that are not saved yet: it stays.
      if (before?.id === id && "found" in before) tellError(error);
      else shown.value = { id, error: plainError(error) };
    },
    [id, asked.value],
  );
  const now = shown.value;
  if (now === null || now.id !== id) return null;
  if ("found" in now && now.found !== null) return <>{children(now.found)}</>;
  return (
    <div class="page">
      {"error" in now ? (
        <div class="problem" role="alert" data-testid="unreadable">
          <p>{errorText(now.error)}</p>
          <button type="button" class="button" onClick={() => asked.value++} data-testid="read-again">
            {t("tryAgain")}
          </button>
        </div>
      ) : (
        <p class="empty">{t(gone)}</p>
      )}
      <a class="button" href={routeHash({ page: back })}>
        {t(back === "notebook" ? "navNotebook" : "navPatients")}
      </a>
    </div>
  );
}

/** That some records cannot be shown, while the others are. */
export function Damaged({ count }: { count: number }) {
  if (count === 0) return null;
  return (
    <p class="problem no-print" role="alert" data-testid="damaged">
      {t("recordsDamaged", { count })}
    </p>
  );
}
