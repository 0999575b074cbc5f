/** Two dates of one lesion side by side. */

import { useSignal } from "@preact/signals";
import { dayText, percent, t } from "../i18n";
import type { Visit } from "../notebook/types";
import { byProbability } from "./Bars";
import { VisitView } from "./VisitView";

export function Compare({ visits, heat }: { visits: readonly Visit[]; heat: number }) {
  const left = useSignal(visits[0].id);
  const right = useSignal(visits[visits.length - 1].id);
  const find = (id: string, otherwise: Visit): Visit => visits.find((visit) => visit.id === id) ?? otherwise;
  const sides = [
    { chosen: left, visit: find(left.value, visits[0]), label: t("compareFirst") },
    { chosen: right, visit: find(right.value, visits[visits.length - 1]), label: t("compareSecond") },
  ];
  const [first, second] = sides.map(({ visit }) => visit);
  const models = new Set(sides.map(({ visit }) => visit.model.digest));
  const order = models.size === 1 ? byProbability(second.probabilities) : undefined; // so that equal rows can be compared
  return (
    <section class="compare" data-testid="compare">
      {models.size > 1 && <p class="problem">{t("compareModels")}</p>}
      {models.size === 1 && first.malignant !== null && second.malignant !== null && (
        <p data-testid="compare-share">
          {t("compareShare", { first: percent(first.malignant), second: percent(second.malignant) })}
        </p>
      )}
      <div class="compare-sides">
        {sides.map(({ chosen, visit, label }) => (
          <div key={label}>
            <label class="field no-print">
              <span>{label}</span>
              <select value={visit.id} onChange={(event) => (chosen.value = event.currentTarget.value)}>
                {visits.map((option) => (
                  <option key={option.id} value={option.id}>
                    {dayText(option.date)}
                  </option>
                ))}
              </select>
            </label>
            <VisitView visit={visit} heat={heat} order={order} />
          </div>
        ))}
      </div>
    </section>
  );
}
