/** One date of a patient with hypopigmented disease: photographs in pairs, patches, VASI with its steps, treatment. */

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { DIAGNOSES, diagnosisName } from "../../hypo/diagnoses";
import { fractionOfRegion } from "../../hypo/fraction";
import {
  DEPIGMENTATION,
  type Depigmentation,
  hasTotal,
  type RegionScore,
  SCORED_REGIONS,
  type ScoredRegion,
  vasi,
  withScore,
} from "../../hypo/vasi";
import type { Edit } from "../../core/geometry";
import { dayText, language, t, today } from "../../i18n";
import type { TextKey } from "../../i18n/en";
import { identity } from "../../notebook/record";
import { changeSheet, deleteSheet, listSheets, readPatient, readSheet, settleSheet } from "../../patients/store";
import type { Patient, PhotoPair, Sheet, SheetPhoto } from "../../patients/types";
import { tellDone, tellError } from "../../state/notices";
import { go, routeHash } from "../../state/route";
import { Confirm } from "../Dialog";
import { FileInput, KeptDay, KeptText } from "../fields";
import { Icon } from "../icons";
import { Kept } from "../Kept";
import { later } from "../later";
import { Curve } from "./Curve";
import { vasiCurve } from "./growth";
import { MeasureFigures } from "./MeasureFigures";
import { number } from "./numbers";
import { Outlined } from "./Outlined";
import { OutlineEditor } from "./OutlineEditor";
import { sheetPhoto } from "./photos";

export const REGION_NAMES: Record<ScoredRegion, TextKey> = {
  hands: "regionHands",
  upperExtremities: "regionUpper",
  trunk: "regionTrunk",
  lowerExtremities: "regionLower",
  feet: "regionFeet",
  faceNeck: "regionFace",
};
export const LIGHTS = ["visible", "wood"] as const;
type Light = (typeof LIGHTS)[number];
export const LIGHT_NAMES: Record<Light, TextKey> = { visible: "lightVisible", wood: "lightWood" };

const Camera = later(async () => (await import("../Camera")).Camera);

/** The photograph of the same region under a light at the last date before. */
function imageBefore(sheets: readonly Sheet[], { date }: Sheet, region: ScoredRegion, light: Light): Blob | null {
  const earlier = sheets.filter((one) => one.date < date).sort((a, b) => a.date.localeCompare(b.date));
  const found = earlier.flatMap(({ pairs }) => pairs.filter((pair) => pair.region === region && pair[light] !== null));
  return found.at(-1)?.[light]?.image ?? null;
}

function PhotoSlot({
  photo,
  light,
  pose,
  onChange,
}: {
  photo: SheetPhoto | null;
  light: Light;
  /** The photograph whose pose this one repeats, shown by the camera as a ghost. */
  pose: Blob | null;
  /** Gives whether it is kept. */
  onChange: (photo: SheetPhoto | null) => Promise<boolean>;
}) {
  const input = useRef<HTMLInputElement>(null);
  const editing = useSignal(false);
  const shooting = useSignal(false);
  const add = async (blob: Blob, name: string, edit?: Edit): Promise<void> => {
    try {
      await onChange(await sheetPhoto(blob, light === "wood" ? "wood" : "pale", edit));
    } catch (error) {
      tellError(error, name);
    }
  };
  const remove = async (removed: SheetPhoto): Promise<void> => {
    if (await onChange(null)) tellDone("photoRemoved", {}, () => void onChange(removed));
  };
  const fraction = photo && fractionOfRegion(photo.region, photo.measure.shapes);
  return (
    <div class="photo-slot">
      <h4>{t(LIGHT_NAMES[light])}</h4>
      {photo === null ? (
        <>
          <div class="actions actions-start no-print">
            <button type="button" class="button" onClick={() => input.current!.click()}>
              {t("addPhoto")}
            </button>
            <button
              type="button"
              class="button"
              onClick={() => (shooting.value = true)}
              data-testid={`camera-${light}`}
            >
              <Icon name="camera" />
              {t("camera")}
            </button>
          </div>
          <FileInput
            input={input}
            accept="image/*"
            testId={`photo-${light}`}
            onFiles={([file]) => file && void add(file, file.name)}
          />
          {shooting.value && (
            <Camera
              ghost={async () => pose}
              dark={light === "wood"}
              onShot={({ blob, name, edit }) => void add(blob, name, edit)}
              onClose={() => (shooting.value = false)}
            />
          )}
        </>
      ) : (
        <>
          <Outlined photo={photo} alt={t(LIGHT_NAMES[light])} />
          <div class="actions actions-start no-print">
            <button
              type="button"
              class="button"
              onClick={() => (editing.value = true)}
              data-testid={`outline-${light}`}
            >
              {t("outlinePatches")}
            </button>
            <button type="button" class="button button-quiet" onClick={() => void remove(photo)}>
              {t("removePhoto")}
            </button>
          </div>
          {photo.measure.shapes.length > 0 && (
            <MeasureFigures measure={photo.measure} longerSide={Math.max(photo.width, photo.height)} />
          )}
          {fraction !== null && (
            <p data-testid={`fraction-${light}`}>{t("fractionOfRegion", { fraction: number(100 * fraction, 1) })}</p>
          )}
          {editing.value && (
            <OutlineEditor
              {...photo}
              onSave={(measure, region) => {
                void onChange({ ...photo, measure, region }).then((kept) => {
                  if (kept) editing.value = false; // or the outline that was drawn would be lost
                });
              }}
              onClose={() => (editing.value = false)}
            />
          )}
        </>
      )}
    </div>
  );
}

/** VASI with its steps, what they leave open, and its source. */
export function VasiTotal({ scores }: { scores: readonly RegionScore[] }) {
  const { steps, total, low, high, adultHand } = vasi(scores);
  return (
    <>
      {hasTotal(scores) && (
        <>
          <p>
            <strong data-testid="vasi-total">{`VASI = ${steps
              .filter(({ region }) => region !== "faceNeck")
              .map(({ handUnits, depigmentation }) => `${number(handUnits)} × ${depigmentation} %`)
              .join(" + ")} = ${number(total)}`}</strong>
          </p>
          <p class="small" data-testid="vasi-range">
            {t("vasiRange", { range: `${number(low, 1)}–${number(high, 1)}`, adult: number(adultHand) })}
          </p>
        </>
      )}
      <p class="small">{t("vasiSource")}</p>
    </>
  );
}

function VasiTable({
  scores,
  onChange,
}: {
  scores: readonly RegionScore[];
  onChange: (change: (scores: readonly RegionScore[]) => RegionScore[]) => void;
}) {
  const set = (region: ScoredRegion, changed: Partial<RegionScore> | null): void =>
    onChange((before) => withScore(before, region, changed));
  const result = vasi(scores);
  const units = scores.reduce((sum, { handUnits }) => sum + handUnits, 0);
  return (
    <div class="vasi" data-testid="vasi">
      <table>
        <thead>
          <tr>
            <th>{t("region")}</th>
            <th>{t("handUnits")}</th>
            <th>{t("depigmentation")}</th>
            <th>{t("product")}</th>
          </tr>
        </thead>
        <tbody>
          {SCORED_REGIONS.map((region) => {
            const step = result.steps.find((one) => one.region === region);
            return (
              <tr key={region}>
                <th scope="row">{t(REGION_NAMES[region])}</th>
                <td>
                  <input
                    type="number"
                    min="0"
                    max={Math.round(100 * (100 - units + (step?.handUnits ?? 0))) / 100}
                    step="0.1"
                    aria-label={`${t(REGION_NAMES[region])}, ${t("handUnits")}`}
                    defaultValue={String(step?.handUnits ?? "")}
                    onChange={({ currentTarget: field }) => {
                      if (field.reportValidity())
                        set(region, field.value === "" ? null : { handUnits: Number(field.value) });
                    }}
                    data-testid={`units-${region}`}
                  />
                </td>
                <td>
                  <select
                    aria-label={`${t(REGION_NAMES[region])}, ${t("depigmentation")}`}
                    value={String(step?.depigmentation ?? 100)}
                    onChange={(event) =>
                      set(region, { depigmentation: Number(event.currentTarget.value) as Depigmentation })
                    }
                    disabled={step === undefined}
                    data-testid={`depigmentation-${region}`}
                  >
                    {DEPIGMENTATION.map((degree) => (
                      <option key={degree} value={String(degree)}>{`${degree} %`}</option>
                    ))}
                  </select>
                </td>
                <td data-testid={`product-${region}`}>{step ? number(step.product) : ""}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      <VasiTotal scores={scores} />
    </div>
  );
}

function View({ sheet, patient, sheets }: SheetShown) {
  const deleting = useSignal(false);
  const write = (changed: (kept: Sheet) => Partial<Sheet>): Promise<boolean> =>
    changeSheet(sheet.id, changed).then(
      () => true,
      (error: unknown) => {
        tellError(error);
        return false;
      },
    );
  const update = (changed: (kept: Sheet) => Partial<Sheet>): void => void write(changed);
  const save = (changed: Partial<Sheet>): void => update(() => changed);
  const settle = (use: boolean): void =>
    void settleSheet(sheet, use).then((id) => {
      tellDone("saved");
      go({ page: "sheet", id });
    }, tellError);
  const removePair = async (removed: PhotoPair): Promise<void> => {
    const kept = await write(({ pairs }) => ({ pairs: pairs.filter(({ id }) => id !== removed.id) }));
    if (kept) tellDone("pairRemoved", {}, () => update(({ pairs }) => ({ pairs: [...pairs, removed] })));
  };
  const setPair = (id: string, changed: Partial<PhotoPair>): Promise<boolean> =>
    write(({ pairs }) => ({ pairs: pairs.map((pair) => (pair.id === id ? { ...pair, ...changed } : pair)) }));
  return (
    <div class="page sheet-page">
      <a class="back no-print" href={routeHash(patient ? { page: "patient", id: patient.id } : { page: "patients" })}>
        <Icon name="back" />
        {patient?.code ?? t("navPatients")}
      </a>
      <div class="page-head">
        <div>
          <h1>{t("hypoTitle")}</h1>
          <p class="lead">{dayText(sheet.date)}</p>
        </div>
        <div class="actions no-print">
          <a class="button" href={routeHash({ page: "sheet-report", id: sheet.id })} data-testid="report-link">
            <Icon name="print" />
            {t("report")}
          </a>
          <button type="button" class="button" onClick={() => (deleting.value = true)}>
            <Icon name="trash" />
            {t("delete")}
          </button>
        </div>
      </div>
      {sheet.versionOf && (
        <section class="problem conflict no-print" data-testid="sheet-conflict">
          <div>
            <h2>{t("conflict")}</h2>
            <p class="small">{t("sheetConflictText")}</p>
          </div>
          <div class="actions">
            <button type="button" class="button" onClick={() => settle(true)} data-testid="sheet-use">
              {t("conflictUse")}
            </button>
            <button type="button" class="button" onClick={() => settle(false)} data-testid="sheet-drop">
              {t("conflictDrop")}
            </button>
          </div>
        </section>
      )}
      <div class="clinical">
        <KeptDay
          label={t("date")}
          day={sheet.date}
          required
          max={today()}
          onKeep={(date) => save({ date })}
          testId="sheet-date"
        />
        <label class="field">
          <span>{t("diagnosis")}</span>
          <select
            value={sheet.diagnosis}
            onChange={(event) => save({ diagnosis: event.currentTarget.value })}
            data-testid="sheet-diagnosis"
          >
            <option value="">{t("notStated")}</option>
            {DIAGNOSES.map((one) => (
              <option key={one.code} value={one.code}>
                {diagnosisName(one.code, language.value)}
              </option>
            ))}
          </select>
        </label>
        <KeptText
          label={t("treatment")}
          text={sheet.treatment}
          lines={2}
          maxLength={4000}
          onKeep={(treatment) => save({ treatment })}
          testId="treatment"
        />
        <KeptText
          label={t("note")}
          text={sheet.note}
          lines={2}
          maxLength={4000}
          onKeep={(note) => save({ note })}
          testId="sheet-note"
        />
      </div>
      <section class="patient-section">
        <div class="section-head">
          <h2>{t("photographPairs")}</h2>
          <button
            type="button"
            class="button no-print"
            onClick={() =>
              update(({ pairs }) => ({
                pairs: [...pairs, { id: identity(), region: "hands", visible: null, wood: null }],
              }))
            }
            data-testid="add-pair"
          >
            {t("addPair")}
          </button>
        </div>
        <p class="small">{t("pairHelp")}</p>
        {sheet.pairs.map((pair) => (
          <div key={pair.id} class="pair" data-testid="pair">
            <label class="field">
              <span>{t("region")}</span>
              <select
                value={pair.region}
                onChange={(event) => void setPair(pair.id, { region: event.currentTarget.value as ScoredRegion })}
              >
                {SCORED_REGIONS.map((region) => (
                  <option key={region} value={region}>
                    {t(REGION_NAMES[region])}
                  </option>
                ))}
              </select>
            </label>
            <div class="pair-photos">
              {LIGHTS.map((light) => (
                <PhotoSlot
                  key={light}
                  light={light}
                  photo={pair[light]}
                  pose={
                    pair[light === "wood" ? "visible" : "wood"]?.image ?? imageBefore(sheets, sheet, pair.region, light)
                  }
                  onChange={(photo) => setPair(pair.id, { [light]: photo })}
                />
              ))}
            </div>
            <button type="button" class="button button-quiet no-print" onClick={() => void removePair(pair)}>
              {t("removePair")}
            </button>
          </div>
        ))}
      </section>
      <section class="patient-section">
        <h2>VASI</h2>
        <VasiTable scores={sheet.scores} onChange={(change) => update(({ scores }) => ({ scores: change(scores) }))} />
        <Curve
          id="vasi-curve"
          label="VASI"
          unit=""
          points={vasiCurve(sheets.filter(({ versionOf }) => versionOf === undefined))}
        />
      </section>
      <p class="small">{t("noticeShort")}</p>
      {deleting.value && (
        <Confirm
          title={t("deleteSheet")}
          text={t("deleteSheetText")}
          action={t("delete")}
          onConfirm={() =>
            void deleteSheet(sheet.id).then(
              () => go(patient ? { page: "patient", id: patient.id } : { page: "patients" }),
              tellError,
            )
          }
          onClose={() => (deleting.value = false)}
        />
      )}
    </div>
  );
}

export interface SheetShown {
  sheet: Sheet;
  patient: Patient | null;
  /** All of the patient. */
  sheets: Sheet[];
}

export async function readSheets(id: string): Promise<SheetShown | null> {
  const sheet = await readSheet(id);
  if (sheet === null) return null;
  // A damaged patient or another damaged date does not hide this one.
  const [patient, { records }] = await Promise.all([
    readPatient(sheet.patientId).catch(() => null),
    listSheets(sheet.patientId),
  ]);
  return { sheet, patient, sheets: records };
}

export function SheetPage({ id }: { id: string }) {
  return (
    <Kept id={id} read={readSheets} gone="sheetGone" back="patients">
      {(found) => <View key={found.sheet.id} {...found} />}
    </Kept>
  );
}
