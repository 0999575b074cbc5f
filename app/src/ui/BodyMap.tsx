/** A drawn body on which a lesion's place is marked; the same choice as a list for keyboards and screen readers. */

import { siteName, t } from "../i18n";
import type { Site } from "../notebook/types";
import { FIGURE, type Region, REGIONS, siteAt } from "./body";

const VIEWS = ["front", "back"] as const;

function regionOf(site: Site | null): Region | undefined {
  return site === null ? undefined : REGIONS.find((region) => region.id === site.region && region.view === site.view);
}

interface FigureProps {
  view: Site["view"];
  site: Site | null;
  onPick?: ((site: Site) => void) | undefined;
}

export function BodyFigure({ view, site, onPick }: FigureProps) {
  const chosen = regionOf(site);
  const pick = (region: Region) => (event: MouseEvent) => {
    const svg = (event.currentTarget as SVGElement).ownerSVGElement!;
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM()!.inverse());
    onPick?.(siteAt(region, [point.x, point.y]));
  };
  return (
    <figure class="body-figure">
      <svg
        viewBox={`0 0 ${FIGURE.width} ${FIGURE.height}`}
        role="img"
        aria-label={t(view === "front" ? "bodyFront" : "bodyBack")}
        class={onPick ? "body-active" : ""}
      >
        {REGIONS.filter((region) => region.view === view).map((region) => (
          <path
            key={region.id}
            d={region.path}
            class={`body-part ${region === chosen ? "body-chosen" : ""}`}
            transform={region.mirrored ? `translate(${FIGURE.width} 0) scale(-1 1)` : undefined}
            onClick={onPick && pick(region)}
            data-region={region.id}
          />
        ))}
        {site !== null && site.view === view && (
          <g class="body-marker" transform={`translate(${site.x * FIGURE.width} ${site.y * FIGURE.height})`}>
            <circle r="9" />
            <circle r="3.5" />
          </g>
        )}
      </svg>
      <figcaption>{t(view === "front" ? "bodyFront" : "bodyBack")}</figcaption>
    </figure>
  );
}

interface Props {
  site: Site | null;
  onPick: (site: Site | null) => void;
}

export function BodyMap({ site, onPick }: Props) {
  const chosen = regionOf(site);
  const byName = (key: string): void => {
    const region = REGIONS.find((candidate) => `${candidate.view}:${candidate.id}` === key);
    onPick(region === undefined ? null : siteAt(region));
  };
  return (
    <div class="body-map">
      <div class="body-figures">
        {VIEWS.map((view) => (
          <BodyFigure key={view} view={view} site={site} onPick={onPick} />
        ))}
      </div>
      <label class="field">
        <span>{t("bodySite")}</span>
        <select
          value={chosen ? `${chosen.view}:${chosen.id}` : ""}
          onChange={(event) => byName(event.currentTarget.value)}
          data-testid="site"
        >
          <option value="">{t("siteNone")}</option>
          {VIEWS.map((view) => (
            <optgroup key={view} label={t(view === "front" ? "bodyFront" : "bodyBack")}>
              {REGIONS.filter((region) => region.view === view).map((region) => (
                <option key={region.id} value={`${view}:${region.id}`}>
                  {siteName({ region: region.id, view })}
                </option>
              ))}
            </optgroup>
          ))}
        </select>
      </label>
    </div>
  );
}
