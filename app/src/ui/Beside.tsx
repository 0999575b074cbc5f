/** Age, sex and site, for models that take them. What is left out changes nothing. */

import { FIELDS, MAX_AGE, valueIn } from "../core/metadata";
import type { Spec } from "../core/spec";
import { capital, partName, sexName, t } from "../i18n";
import { known, tell } from "../state/session";

const LABELS = { age: "age", sex: "sex", site: "bodySite" } as const;

export function Beside({ spec: { metadata } }: { spec: Spec }) {
  const fields = FIELDS.filter((field) => metadata?.log_ratios[field]);
  if (metadata === null || fields.length === 0) return null;
  return (
    <fieldset class="questions beside" data-testid="beside">
      <legend>{t("beside")}</legend>
      <p class="small">{t("besideText")}</p>
      {fields.map((field) => {
        const told = known.value[field];
        const table = metadata.log_ratios[field];
        return (
          <label key={field} class="field">
            <span>{t(LABELS[field])}</span>
            {field === "age" ? (
              <input
                type="number"
                inputMode="numeric"
                min="0"
                max={MAX_AGE}
                value={told ?? ""}
                onInput={(event) => tell(field, event.currentTarget.value)}
                data-testid="beside-age"
              />
            ) : (
              <select
                value={valueIn(table, field, told) ?? ""}
                onChange={(event) => tell(field, event.currentTarget.value)}
                data-testid={`beside-${field}`}
              >
                <option value="">{t("notKnown")}</option>
                {Object.keys(table).map((name) => (
                  <option key={name} value={name}>
                    {capital(field === "sex" ? sexName(name) : partName(name))}
                  </option>
                ))}
              </select>
            )}
          </label>
        );
      })}
    </fieldset>
  );
}
