/**
 * A patient's record as a FHIR R5 bundle: Patient, BodyStructure, DocumentReference (R5 has no Media), ImagingSelection for
 * outlines, Observation for figures and for what a model said, DiagnosticReport.
 */

import { toBase64 } from "../core/base64";
import { RESEARCH } from "../core/research";
import { type Doubt, isAnswer, type Verdict } from "../core/verdict";
import { diagnosisName } from "../hypo/diagnoses";
import { fractionOfRegion } from "../hypo/fraction";
import { hasTotal, vasi } from "../hypo/vasi";
import { areaMm2, diameterMm, figures, SHAPE_ERRORS } from "../measure/figures";
import type { CaseWithVisits } from "../notebook/cases";
import type { Visit, VisitPhoto } from "../notebook/types";
import { visitVerdict } from "../notebook/verdict";
import type { Measure, Patient, Sheet, SheetPhoto } from "../patients/types";
import type { CodeableConcept, FhirBundle, Quantity, Reference, Resource } from "./types";

const UCUM = "http://unitsofmeasure.org";
const DICOM = "http://dicom.nema.org/resources/ontology/DCM";
const CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category";
/** Codes of our own: figures for which no code of a public system is known to mean the same. */
const LENTIGO = "urn:lentigo:code";
/** Nobody has verified what this app writes, which "final" would claim. */
const UNVERIFIED = { Observation: "preliminary", DiagnosticReport: "partial" } as const;
const DOUBTS: { [Why in Doubt]: string } = {
  otherKind: "the model was made for another kind of photograph",
  abstained: "no photograph is of the kind and quality that the model can judge",
  noMalignancy: "the model does not say of each class whether it is malignant",
  noLine: "the model has no line for malignant classes",
  disagree: "some photographs are above the line for malignant classes, though all together are below it",
  different: "the photographs look like different lesions",
  concern: "below the line for malignant classes, but what was answered about the lesion is a reason for concern",
};

/** A verdict with what keeps it from being read as more. */
function inWords(verdict: Verdict): string {
  if (verdict.kind === "unsure") return `Can't tell: ${DOUBTS[verdict.doubt]}`;
  if (verdict.kind === "below") return "Below the line for malignant classes, which does not rule out cancer";
  return `Above the line for malignant classes${verdict.disagree ? ", some photographs below it" : ""}`;
}

export interface Exported {
  patient: Patient | null;
  lesions: readonly CaseWithVisits[];
  sheets: readonly Sheet[];
  /** A place's name in words. */
  placeName: (one: CaseWithVisits) => string;
  now?: Date;
}

/** The same identity always gives the same UUID. */
function uuid(identity: string): string {
  let [a, b, c, d] = [0x811c9dc5, 0x01000193, 0x9e3779b9, 0x85ebca6b];
  for (const character of identity) {
    const code = character.codePointAt(0)!;
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ (code + a), 0x85ebca6b);
    c = Math.imul(c ^ (code + b), 0xc2b2ae35);
    d = Math.imul(d ^ (code + c), 0x27d4eb2f);
  }
  const hex = [a, b, c, d].map((part) => (part >>> 0).toString(16).padStart(8, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** A UUID as a DICOM unique identifier (ISO/IEC 9834-8: 2.25 and the number in decimal). */
const uidOf = (id: string): string => `2.25.${BigInt(`0x${id.replaceAll("-", "")}`)}`;

const refer = (id: string): Reference => ({ reference: `urn:uuid:${id}` });
/** Codes have no spaces but single ones inside, and no text is empty; imported records may have others. */
const coded = (code: string): string => code.trim().replace(/\s+/g, " ") || "none";
const own = (code: string, text: string): CodeableConcept => ({
  coding: [{ system: LENTIGO, code: coded(code), display: coded(text) }],
  text: coded(text),
});
const rounded = (value: number): number => Number(value.toPrecision(4));
const quantity = (value: number, unit: string, code = unit): Quantity => ({
  value: rounded(value),
  unit,
  system: UCUM,
  code,
});

/** Collects resources of one patient. */
class Record {
  readonly resources: Resource[] = [];
  readonly subject: Reference;

  constructor(patient: Patient | null) {
    const id = uuid(`patient:${patient?.id ?? "unassigned"}`);
    this.subject = refer(id);
    this.resources.push({
      resourceType: "Patient",
      id,
      identifier: [{ system: "urn:lentigo:patient", value: patient?.code.trim() || "unassigned" }],
      active: true,
      ...(patient?.birthYear ? { birthDate: String(patient.birthYear) } : {}),
    });
    if (patient?.skinType) {
      this.observe(`skin:${patient.id}`, own("fitzpatrick", "Fitzpatrick skin type"), patient.updated.slice(0, 10), {
        valueInteger: patient.skinType,
      });
    }
  }

  add(resource: Resource): Reference {
    this.resources.push(resource);
    return refer(resource.id);
  }

  observe(key: string, code: CodeableConcept, date: string, rest: { [field: string]: unknown }): Reference {
    return this.add({
      resourceType: "Observation",
      id: uuid(`observation:${key}`),
      status: UNVERIFIED.Observation,
      category: [{ coding: [{ system: CATEGORY, code: "imaging" }] }],
      code,
      subject: this.subject,
      effectiveDateTime: date,
      note: [{ text: RESEARCH }],
      ...rest,
    });
  }

  structure(key: string, place: CodeableConcept, description: string): Reference {
    return this.add({
      resourceType: "BodyStructure",
      id: uuid(`structure:${key}`),
      active: true,
      includedStructure: [{ structure: place }],
      ...(description.trim() ? { description } : {}),
      patient: this.subject,
    });
  }

  async photograph(key: string, date: string, photo: VisitPhoto | SheetPhoto, what: string): Promise<Reference> {
    return this.add({
      resourceType: "DocumentReference",
      id: uuid(`photograph:${key}`),
      status: "current",
      type: own("photograph", what),
      subject: this.subject,
      content: [
        {
          attachment: {
            contentType: photo.image.type || "image/jpeg",
            data: toBase64(new Uint8Array(await photo.image.arrayBuffer())),
            width: photo.width,
            height: photo.height,
            creation: date,
          },
        },
      ],
    });
  }

  outline(key: string, measure: Measure, photograph: Reference, structure: Reference): Reference {
    const id = uuid(`outline:${key}`);
    return this.add({
      resourceType: "ImagingSelection",
      id,
      status: "available",
      subject: this.subject,
      code: { coding: [{ system: DICOM, code: "111030", display: "Image Region" }] },
      derivedFrom: [photograph],
      bodySite: { reference: structure },
      instance: [
        {
          uid: uidOf(id),
          imageRegion2D: measure.shapes.map((shape) => ({
            regionType: "polyline", // closed: the last point is the first
            coordinate: [...shape, shape[0]].flatMap(({ x, y }) => [Number(x.toFixed(1)), Number(y.toFixed(1))]),
          })),
        },
      ],
    });
  }
}

/** Sizes as components, with their standard errors. */
function sizes(measure: Measure, longerSide: number): { [field: string]: unknown }[] {
  const [largest] = measure.shapes;
  const shape = figures(largest);
  const components: { [field: string]: unknown }[] = [
    {
      code: own("asymmetry", `Asymmetry, 0 to 1; error on drawn lesions up to ${SHAPE_ERRORS.asymmetry}`),
      valueQuantity: quantity(shape.asymmetry, "1"),
    },
    {
      code: own(
        "border",
        `Border: perimeter² / (4 pi area); relative error on drawn lesions up to ${SHAPE_ERRORS.border}`,
      ),
      valueQuantity: quantity(shape.border, "1"),
    },
  ];
  if (measure.scale === null) return components;
  const area = areaMm2(measure.shapes, measure.scale, longerSide);
  const diameter = diameterMm(largest, measure.scale, longerSide);
  return [
    { code: own("area", "Area"), valueQuantity: quantity(area.value, "mm2") },
    { code: own("area-error", "Standard error of the area"), valueQuantity: quantity(area.error, "mm2") },
    { code: own("diameter", "Longest diameter"), valueQuantity: quantity(diameter.value, "mm") },
    { code: own("diameter-error", "Standard error of the diameter"), valueQuantity: quantity(diameter.error, "mm") },
    ...components,
  ];
}

function measured(
  record: Record,
  key: string,
  date: string,
  photo: { width: number; height: number; measure?: Measure },
  photograph: Reference,
  structure: Reference,
): Reference[] {
  const { measure } = photo;
  if (measure === undefined || measure.shapes.length === 0) return [];
  const outline = record.outline(key, measure, photograph, structure);
  return [
    record.observe(`size:${key}`, own("size", "Size and shape on the photograph"), date, {
      bodyStructure: structure,
      derivedFrom: [outline],
      component: sizes(measure, Math.max(photo.width, photo.height)),
      method: { text: measure.proposed ? "outline proposed by software" : "outline drawn or corrected by a person" },
    }),
  ];
}

/** What the line says at the prevalence that was stated: of those above it or below it, whichever the lesion is. */
function predicted({ kind }: Verdict, { values }: Visit): { [field: string]: unknown }[] {
  if (values === undefined || kind === "unsure") return [];
  const [key, name] = kind === "above" ? (["ppv", "Positive"] as const) : (["npv", "Negative"] as const);
  const { value, low, high } = values[key];
  const title = `${name} predictive value of the line at that prevalence, by the model's test`;
  const range = low !== null && high !== null && { low: quantity(low, "1"), high: quantity(high, "1") };
  return [
    {
      code: own("prevalence", "Prevalence of malignancy that was stated"),
      valueQuantity: quantity(values.prevalence, "1"),
    },
    { code: own(key, title), valueQuantity: quantity(value, "1") },
    ...(range ? [{ code: own(`${key}-interval`, `${title}: interval`), valueRange: range }] : []),
  ];
}

/** What the answer was given with, beside the photographs. */
function notesOf({ concerns, beside, differ }: Visit, verdict: Verdict | null): { note?: { text: string }[] } {
  const told = Object.entries(beside?.known ?? {}).map(([field, value]) => `${field} ${value}`);
  const notes = [
    concerns?.length && `Reasons for concern that were stated: ${concerns.join(", ")}.`,
    differ && "The photographs look like different lesions.",
    verdict && !isAnswer(verdict) && "The class probabilities are not an answer.",
    told.length > 0 && `Class probabilities take into account: ${told.join(", ")}.`,
  ].flatMap((text) => (text ? [{ text }] : []));
  return notes.length > 0 ? { note: [{ text: RESEARCH }, ...notes] } : {};
}

async function visitReport(record: Record, one: CaseWithVisits, visit: Visit, structure: Reference): Promise<void> {
  const photographs: Reference[] = [];
  const results: Reference[] = [];
  for (const [i, photo] of visit.photos.entries()) {
    const key = `${visit.id}:${i}`;
    const photograph = await record.photograph(key, visit.date, photo, "Photograph of a skin lesion");
    photographs.push(photograph);
    results.push(...measured(record, key, visit.date, photo, photograph, structure));
  }
  if (visit.model !== null && visit.classes.length > 0) {
    const verdict = visitVerdict(visit);
    const of = (code: string, text: string, value: number) => ({
      code: own(code, text),
      valueQuantity: quantity(value, "1"),
    });
    // Not beside a verdict that is none: they would read as one.
    const line =
      visit.malignant === null || visit.operatingPoint === null || (verdict && !isAnswer(verdict))
        ? []
        : [
            of("malignant-classes", "Malignant classes together", visit.malignant),
            of("malignant-line", "Line for malignant classes", visit.operatingPoint.threshold),
            ...(verdict ? predicted(verdict, visit) : []),
          ];
    results.push(
      record.observe(`answer:${visit.id}`, own("model-answer", "Class probabilities of a neural network"), visit.date, {
        bodyStructure: structure,
        derivedFrom: photographs,
        ...(verdict && { valueString: inWords(verdict) }),
        component: [...line, ...visit.classes.map((label, i) => of(label.code, label.en, visit.probabilities[i]))],
        method: { text: `${visit.model.title}, version ${visit.model.version}, SHA-256 ${visit.model.digest}` },
        ...notesOf(visit, verdict),
      }),
    );
  }
  const said = [one.clinical?.diagnosis, one.clinical?.histology && `Histology: ${one.clinical.histology}`, visit.note];
  report(record, visit.id, visit.date, "Report on a skin lesion", results, photographs, said);
}

function report(
  record: Record,
  key: string,
  date: string,
  title: string,
  results: readonly Reference[],
  photographs: readonly Reference[],
  said: readonly (string | undefined)[],
): void {
  const words = said.filter((text) => text?.trim()).join("\n");
  record.add({
    resourceType: "DiagnosticReport",
    id: uuid(`report:${key}`),
    status: UNVERIFIED.DiagnosticReport,
    code: own("report", title),
    subject: record.subject,
    effectiveDateTime: date,
    ...(results.length > 0 ? { result: results } : {}),
    ...(photographs.length > 0 ? { media: photographs.map((link) => ({ link })) } : {}),
    ...(words ? { conclusion: words } : {}),
    note: [{ text: RESEARCH }],
  });
}

async function sheetReport(record: Record, sheet: Sheet): Promise<void> {
  const results: Reference[] = [];
  const photographs: Reference[] = [];
  if (sheet.scores.length > 0) {
    const score = vasi(sheet.scores);
    results.push(
      record.observe(`vasi:${sheet.id}`, own("vasi", "Vitiligo Area Scoring Index"), sheet.date, {
        ...(hasTotal(sheet.scores) && { valueQuantity: quantity(score.total, "1") }),
        component: score.steps.map((step) => ({
          code: own(`vasi-${step.region}`, `${step.region}: hand units × residual depigmentation`),
          valueString: `${step.handUnits} × ${step.depigmentation} % = ${rounded(step.product)}`,
        })),
        method: { text: "Hamzavi et al., Arch Dermatol 2004;140:677-683; face and neck are not in the total" },
      }),
    );
  }
  for (const pair of sheet.pairs) {
    const structure = record.structure(`pair:${pair.id}`, own(pair.region, pair.region), "");
    for (const light of ["visible", "wood"] as const) {
      const photo = pair[light];
      if (photo === null) continue;
      const key = `${pair.id}:${light}`;
      const title = light === "wood" ? "Photograph under Wood's lamp" : "Photograph in visible light";
      const photograph = await record.photograph(key, sheet.date, photo, title);
      photographs.push(photograph);
      results.push(...measured(record, key, sheet.date, photo, photograph, structure));
      const fraction = fractionOfRegion(photo.region, photo.measure.shapes);
      if (fraction === null) continue;
      results.push(
        record.observe(`share:${key}`, own("share-of-region", "Share of the region, on the photograph"), sheet.date, {
          bodyStructure: structure,
          derivedFrom: [photograph],
          valueQuantity: quantity(100 * fraction, "%"),
        }),
      );
    }
  }
  const said = [
    sheet.diagnosis && diagnosisName(sheet.diagnosis, "en"),
    sheet.treatment && `Treatment: ${sheet.treatment}`,
    sheet.note,
  ];
  report(record, sheet.id, sheet.date, "Report on hypopigmented disease", results, photographs, said);
}

export async function fhirRecord({
  patient,
  lesions,
  sheets,
  placeName,
  now = new Date(),
}: Exported): Promise<FhirBundle> {
  const record = new Record(patient);
  for (const one of lesions) {
    const place = one.site === null ? { text: "skin" } : own(`${one.site.view}:${one.site.region}`, placeName(one));
    const structure = record.structure(one.id, place, one.title);
    for (const visit of one.visits) await visitReport(record, one, visit, structure);
  }
  for (const sheet of sheets) await sheetReport(record, sheet);
  return {
    resourceType: "Bundle",
    id: uuid(`bundle:${patient?.id ?? "unassigned"}:${now.toISOString()}`),
    type: "collection",
    timestamp: now.toISOString(),
    entry: record.resources.map((resource) => ({ fullUrl: `urn:uuid:${resource.id}`, resource })),
  };
}
