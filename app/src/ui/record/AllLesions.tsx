/** Every lesion of a patient on the drawn body: front, back, head and hands. */

import { untitled, t } from "../../i18n";
import type { Case } from "../../notebook/types";
import { routeHash } from "../../state/route";
import { FIGURE, REGIONS } from "../body";

/** Parts of the figure, in its own units; head and hands are small, and are drawn larger. */
const VIEWS = [
  { key: "bodyFront", view: "front", box: [0, 0, FIGURE.width, FIGURE.height], size: "whole" },
  { key: "bodyBack", view: "back", box: [0, 0, FIGURE.width, FIGURE.height], size: "whole" },
  { key: "bodyHead", view: "front", box: [64, 2, 72, 76], size: "detail" },
  { key: "bodyHeadBack", view: "back", box: [64, 2, 72, 76], size: "detail" },
  { key: "bodyHandRight", view: "front", box: [22, 200, 36, 48], size: "detail" },
  { key: "bodyHandLeft", view: "front", box: [142, 200, 36, 48], size: "detail" },
  { key: "bodyHandLeftBack", view: "back", box: [22, 200, 36, 48], size: "detail" },
  { key: "bodyHandRightBack", view: "back", box: [142, 200, 36, 48], size: "detail" },
] as const;

export function AllLesions({ lesions }: { lesions: readonly Case[] }) {
  return (
    <div class="all-lesions" data-testid="all-lesions">
      {VIEWS.map(({ key, view, box, size }) => {
        const [x, y, width, height] = box;
        const unit = width / (size === "whole" ? 200 : 90); // markers are equally large on the screen
        const shown = lesions.filter(({ site }) => {
          if (site === null || site.view !== view) return false;
          const [px, py] = [site.x * FIGURE.width, site.y * FIGURE.height];
          return px >= x && px <= x + width && py >= y && py <= y + height;
        });
        if (size === "detail" && shown.length === 0) return null;
        return (
          <figure key={key} class={`body-figure body-${size}`}>
            <svg viewBox={box.join(" ")} role="group" aria-label={t(key)}>
              {REGIONS.filter((region) => region.view === view).map((region) => (
                <path
                  key={region.id}
                  d={region.path}
                  class="body-part"
                  transform={region.mirrored ? `translate(${FIGURE.width} 0) scale(-1 1)` : undefined}
                />
              ))}
              {shown.map((one) => (
                <a
                  key={one.id}
                  href={routeHash({ page: "case", id: one.id })}
                  aria-label={one.title || untitled(one.site, one.created.slice(0, 10))}
                  data-testid="body-lesion"
                >
                  <circle
                    class="body-lesion"
                    cx={one.site!.x * FIGURE.width}
                    cy={one.site!.y * FIGURE.height}
                    r={5 * unit}
                    stroke-width={1.5 * unit}
                  />
                </a>
              ))}
            </svg>
            <figcaption>{t(key)}</figcaption>
          </figure>
        );
      })}
    </div>
  );
}
