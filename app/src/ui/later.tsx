/** Parts of the app that are fetched when they are first shown, so that the start does not wait for them. */

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { AppError, plainError } from "../core/errors";
import { errorText, t } from "../i18n";

/** A component that is fetched when it is first shown; what cannot be fetched says so, and is asked for again. */
export function later<Props extends object>(load: () => Promise<ComponentType<Props>>): ComponentType<Props> {
  let loaded: ComponentType<Props> | null = null;
  return function Later(props: Props) {
    const [state, setState] = useState<"asked" | "failed" | "loaded">("asked");
    useEffect(() => {
      if (loaded !== null || state !== "asked") return;
      load().then(
        (component) => {
          loaded = component;
          setState("loaded");
        },
        () => setState("failed"),
      );
    }, [state]);
    const Loaded = loaded;
    if (Loaded !== null) return <Loaded {...props} />;
    if (state !== "failed") return null;
    return (
      <div class="problem no-print" role="alert" data-testid="part-unreachable">
        <p>{errorText(plainError(new AppError("partUnreachable")))}</p>
        <button type="button" class="button" onClick={() => setState("asked")}>
          {t("tryAgain")}
        </button>
      </div>
    );
  };
}
