/** Parts of the app that are fetched when they are first shown, so that the start does not wait for them. */

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { AppError } from "../core/errors";
import { tellError } from "../state/notices";

/**
 * A component that is fetched when it is first shown; until then there is nothing in its place.
 *
 * @param load asked again after it failed, when the component is shown again
 */
export function later<Props extends object>(load: () => Promise<ComponentType<Props>>): ComponentType<Props> {
  let loaded: ComponentType<Props> | null = null;
  return function Later(props: Props) {
    const [, redraw] = useState(0);
    useEffect(() => {
      if (loaded !== null) return;
      load().then(
        (component) => {
          loaded = component;
          redraw(1);
        },
        () => tellError(new AppError("partUnreachable")),
      );
    }, []);
    const Loaded = loaded;
    return Loaded === null ? null : <Loaded {...props} />;
  };
}
