/** One date of a patient with hypopigmented disease on paper: photographs with patches, VASI with its steps, treatment. */

import { diagnosisName } from "../../hypo/diagnoses";
import { fractionOfRegion } from "../../hypo/fraction";
import { vasi } from "../../hypo/vasi";
import { dayText, language, t } from "../../i18n";
import type { SheetPhoto } from "../../patients/types";
import { Kept } from "../Kept";
import { Curve } from "./Curve";
import { areaCurve, vasiCurve } from "./growth";
import { MeasureFigures } from "./MeasureFigures";
import { number } from "./numbers";
import { Outlined } from "./Outlined";
import { Paper, patientText } from "./Paper";
import { LIGHT_NAMES, LIGHTS, readSheets, REGION_NAMES, type SheetShown, VasiTotal } from "./SheetPage";

function Photograph({ photo, title }: { photo: SheetPhoto; title: string }) {
  const fraction = fractionOfRegion(photo.region, photo.measure.shapes);
  return (
    <div class="report-visit">
      <h2>{title}</h2>
      <Outlined photo={photo} alt={title} />
      {photo.measure.shapes.length > 0 && (
        <MeasureFigures measure={photo.measure} longerSide={Math.max(photo.width, photo.height)} />
      )}
      {fraction !== null && <p class="small">{t("fractionOfRegion", { fraction: number(100 * fraction, 1) })}</p>}
    </div>
  );
}

function View({ sheet, patient, sheets }: SheetShown) {
  const settled = sheets.filter(({ versionOf }) => versionOf === undefined);
  const { steps } = vasi(sheet.scores);
  return (
    <Paper
      title={t("hypoTitle")}
      back={{ page: "sheet", id: sheet.id }}
      facts={[
        [t("patient"), patient && patientText(patient)],
        [t("date"), dayText(sheet.date)],
        [t("diagnosis"), sheet.diagnosis && diagnosisName(sheet.diagnosis, language.value)],
        [t("treatment"), sheet.treatment],
        [t("note"), sheet.note],
      ]}
    >
      <div class="report-visits">
        {sheet.pairs.flatMap((pair) =>
          LIGHTS.flatMap((light) => {
            const photo = pair[light];
            const title = `${t(REGION_NAMES[pair.region])}${t("listComma")}${t(LIGHT_NAMES[light])}`;
            return photo === null ? [] : [<Photograph key={`${pair.id} ${light}`} photo={photo} title={title} />];
          }),
        )}
      </div>
      {steps.length > 0 && (
        <div class="vasi">
          <h2>VASI</h2>
          <table>
            <thead>
              <tr>
                {(["region", "handUnits", "depigmentation", "product"] as const).map((name) => (
                  <th key={name}>{t(name)}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {steps.map(({ region, handUnits, depigmentation, product }) => (
                <tr key={region}>
                  <th scope="row">{t(REGION_NAMES[region])}</th>
                  <td>{number(handUnits)}</td>
                  <td>{`${depigmentation} %`}</td>
                  <td>{number(product)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <VasiTotal scores={sheet.scores} />
        </div>
      )}
      <div class="curves">
        <Curve id="vasi-curve" label="VASI" unit="" points={vasiCurve(settled)} />
        <Curve id="area-curve" label={t("areaTogether")} unit="mm²" points={areaCurve(settled)} />
      </div>
      <p class="report-limits">
        {t("noticeResearch")} {t("reportSizes")}
      </p>
    </Paper>
  );
}

export function SheetReport({ id }: { id: string }) {
  return (
    <Kept id={id} read={readSheets} gone="sheetGone" back="patients">
      {(found) => <View key={found.sheet.id} {...found} />}
    </Kept>
  );
}
