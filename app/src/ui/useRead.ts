/** What a part of the page reads from the notebook. */

import { useEffect } from "preact/hooks";
import { revision } from "../notebook/cases";

/**
 * Read now, and again whenever the notebook or one of `inputs` changes.
 *
 * Reads may end in another order than they began: what a later one has overtaken is dropped, and so is what comes after
 * the part has left the page.
 */
export function useRead<Found>(
  read: () => Promise<Found>,
  onFound: (found: Found) => void,
  onError: (error: unknown) => void,
  inputs: readonly unknown[] = [],
): void {
  useEffect(() => {
    let current = true;
    read().then(
      (found) => current && onFound(found),
      (error: unknown) => current && onError(error),
    );
    return () => {
      current = false;
    };
  }, [revision.value, ...inputs]);
}
