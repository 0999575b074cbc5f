/** Questions about the lesion. An answer can raise concern; none lowers it. */

import { CONCERNS } from "../core/verdict";
import { t } from "../i18n";
import { concerns, toggleConcern } from "../state/session";
import { CONCERN_NAMES } from "./Verdict";

export function Questions() {
  return (
    <fieldset class="questions" data-testid="questions">
      <legend>{t("questions")}</legend>
      <p class="small">{t("questionsText")}</p>
      {CONCERNS.map((concern) => (
        <label key={concern} class="question">
          <input
            type="checkbox"
            checked={concerns.value.includes(concern)}
            onChange={() => toggleConcern(concern)}
            data-testid={`concern-${concern}`}
          />
          <span>{t(CONCERN_NAMES[concern])}</span>
        </label>
      ))}
    </fieldset>
  );
}
