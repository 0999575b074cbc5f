/** What reports share: A4 or Letter, what stands at the head and at the foot of the sheet. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { dayText, t, today } from "../../i18n";
import type { Patient } from "../../patients/types";
import { type Route, routeHash } from "../../state/route";
import { Icon } from "../icons";
import { skinTypeText } from "./numbers";

const PAPERS = ["A4", "Letter"] as const;

/** A patient in a line: code, year of birth, skin type. */
export function patientText({ code, birthYear, skinType }: Patient): string {
  return [code, birthYear && t("bornIn", { year: birthYear }), skinTypeText(skinType)]
    .filter(Boolean)
    .join(t("listComma"));
}

interface Props {
  title: string;
  /** The page that this is the report of. */
  back: Route;
  /** Name and value; those without a value are left out. */
  facts: readonly (readonly [string, string | undefined | null])[];
  /** Beside the facts. */
  aside?: ComponentChildren;
  /** Above the sheet, and not on it. */
  above?: ComponentChildren;
  children: ComponentChildren;
}

export function Paper({ title, back, facts, aside, above, children }: Props) {
  const paper = useSignal<(typeof PAPERS)[number]>("A4");
  return (
    <div class={`page report report-${paper.value.toLowerCase()}`} data-testid="report">
      <div class="section-head no-print">
        <a class="back" href={routeHash(back)}>
          <Icon name="back" />
          {title}
        </a>
        <div class="actions">
          {PAPERS.map((name) => (
            <button
              key={name}
              type="button"
              class="button"
              aria-pressed={paper.value === name}
              onClick={() => (paper.value = name)}
              data-testid={`paper-${name}`}
            >
              {name}
            </button>
          ))}
          <button type="button" class="button button-primary" onClick={() => print()} data-testid="report-print">
            <Icon name="print" />
            {t("print")}
          </button>
        </div>
      </div>
      {above}
      <div class="report-sheet">
        <header class="report-head">
          <div>
            <h1>{title}</h1>
            <p class="small">{t("reportMade", { date: dayText(today()) })}</p>
            <dl class="figures">
              {facts.map(([name, value]) =>
                value ? (
                  <>
                    <dt>{name}</dt>
                    <dd>{value}</dd>
                  </>
                ) : null,
              )}
            </dl>
          </div>
          {aside}
        </header>
        {children}
      </div>
    </div>
  );
}
