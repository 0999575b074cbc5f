/** Two dates of one lesion: photographs and verdicts side by side, the classes row by row. */

import { useSignal } from "@preact/signals";
import { argmax } from "../core/probabilities";
import { isAnswer } from "../core/verdict";
import { className, dayText, percent, t } from "../i18n";
import type { Visit } from "../notebook/types";
import { visitVerdict } from "../notebook/verdict";
import { Bars, byProbability } from "./Bars";
import { LayOver } from "./record/lazy";
import { VerdictLine } from "./Verdict";
import { AnsweredBy, KeptPhoto, Together } from "./VisitView";

/** One class, its two probabilities beneath each other. */
function Rows({ first, second, muted }: { first: Visit; second: Visit; muted: boolean }) {
  const rows = [first, second];
  return (
    <ol class={muted ? "bars bars-muted" : "bars"} data-testid="compare-bars">
      {byProbability(second.probabilities).map((i) => (
        <li key={second.classes[i].code} class="bar" data-code={second.classes[i].code}>
          <span class="bar-name">
            {className(second.classes[i])}
            {second.classes[i].malignant === true && <span class="tag">{t("malignant")}</span>}
          </span>
          {rows.map((visit, side) => (
            <span key={side} class="compare-bar">
              <span class="small">{dayText(visit.date)}</span>
              <span class={`bar-track ${visit.classes[i].malignant === true ? "bar-malignant" : ""}`}>
                <span class="bar-fill" style={{ "--fraction": visit.probabilities[i] }} />
              </span>
              <span class="bar-value">{percent(visit.probabilities[i])}</span>
            </span>
          ))}
        </li>
      ))}
    </ol>
  );
}

function KeptVerdict({ visit }: { visit: Visit }) {
  const verdict = visitVerdict(visit);
  return verdict && <VerdictLine verdict={verdict} />;
}

/** Whether the figures of a visit are those of a model that gave no answer. */
function isMuted(visit: Visit): boolean {
  const verdict = visitVerdict(visit);
  return verdict !== null && !isAnswer(verdict);
}

export function Compare({ visits, heat }: { visits: readonly Visit[]; heat: number }) {
  const left = useSignal(visits[0].id);
  const right = useSignal(visits[visits.length - 1].id);
  const find = (id: string, otherwise: Visit): Visit => visits.find((visit) => visit.id === id) ?? otherwise;
  const sides = [
    { chosen: left, visit: find(left.value, visits[0]), label: t("compareFirst") },
    { chosen: right, visit: find(right.value, visits[visits.length - 1]), label: t("compareSecond") },
  ];
  const [first, second] = sides.map(({ visit }) => visit);
  const answered = [first, second].filter(({ model }) => model !== null);
  const oneModel = answered.length === 2 && first.model?.digest === second.model?.digest;
  const muted = isMuted(first) || isMuted(second);
  return (
    <section class="compare" data-testid="compare">
      {answered.length === 2 && !oneModel && (
        <p class="problem" data-testid="compare-models">
          {t("compareModels")}
        </p>
      )}
      {first.id !== second.id && <LayOver first={first} second={second} />}
      <div class="compare-sides">
        {sides.map(({ chosen, visit, label }) => (
          <article key={label} class="compare-side" data-testid="visit">
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
            <h3>{dayText(visit.date)}</h3>
            <div class="visit-photos">
              {visit.photos.map((photo, i) => (
                <KeptPhoto
                  key={i}
                  photo={photo}
                  classIndex={argmax(visit.probabilities)}
                  heat={heat}
                  label={t("photograph", { number: i + 1 })}
                />
              ))}
            </div>
            <div class="compare-words">
              <KeptVerdict visit={visit} />
              <Together visit={visit} />
              <AnsweredBy visit={visit} />
              {visit.note && <p class="visit-note">{visit.note}</p>}
            </div>
          </article>
        ))}
      </div>
      {muted && <p class="small">{t("notAnAnswer")}</p>}
      {oneModel && !muted && first.malignant !== null && second.malignant !== null && (
        <p data-testid="compare-probability">
          {t("compareShare", { first: percent(first.malignant), second: percent(second.malignant) })}
        </p>
      )}
      {oneModel ? (
        <Rows first={first} second={second} muted={muted} />
      ) : (
        answered.map((visit) => (
          <div key={visit.id}>
            <h3>{dayText(visit.date)}</h3>
            <Bars classes={visit.classes} probabilities={visit.probabilities} muted={isMuted(visit)} />
          </div>
        ))
      )}
      <p class="small">{t("noticeShort")}</p>
    </section>
  );
}
