// @vitest-environment happy-dom

import { h, render } from "preact";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { AppError } from "../src/core/errors";
import { NO_EDIT } from "../src/core/geometry";
import { parseSpec, type Spec } from "../src/core/spec";
import { fhirRecord } from "../src/fhir/record";
import { speak } from "../src/i18n";
import { capture, model } from "../src/state/models";
import { choosePrevalence, chosenValues } from "../src/state/operating";
import { notices, openDialogs, tellDone, tellError } from "../src/state/notices";
import type { Visit, VisitPhoto } from "../src/notebook/types";
import { type Answer, answer, concerns, type Photo, photos, toggleConcern } from "../src/state/session";
import { route } from "../src/state/route";
import { App } from "../src/ui/App";
import { CaptureQuestion } from "../src/ui/Capture";
import { Lead } from "../src/ui/Check";
import { Compare } from "../src/ui/Compare";
import { ReportVisit } from "../src/ui/record/Report";
import { Prevalence } from "../src/ui/Models";
import { Notices } from "../src/ui/Notices";
import { Results } from "../src/ui/Results";
import { VerdictBanner, verdictInWords, VerdictLine } from "../src/ui/Verdict";
import { KeptPhoto, VisitView } from "../src/ui/VisitView";
import { BUNDLES, textOf } from "./fixtures";
import { photoOf } from "./records";

const spec: Spec = {
  ...parseSpec(textOf(BUNDLES, "alpha", "spec.json")),
  domain: "dermoscopy",
  operating_points: [{ name: "sensitivity_90", threshold: 0.2, sensitivity: 0.9, specificity: 0.6 }],
};
const entry = {
  id: "packaged:alpha",
  origin: "packaged" as const,
  name: "alpha",
  title: "Alpha",
  version: "1",
  domain: spec.domain,
  weights: "fp32",
  classes: spec.classes,
  bytes: 1,
  digest: "0",
};

// Benign keratosis leads; the malignant classes together have 44 %.
const BENIGN_LEADS = [0.12, 0.12, 0.36, 0.1, 0.2, 0.08, 0.02];
const BENIGN = [0.01, 0.01, 0.02, 0.02, 0.02, 0.9, 0.02];

function photo(id: number, probabilities: number[], unlike = false): Photo {
  return {
    id,
    name: `${id}.jpg`,
    blob: new Blob(),
    edit: NO_EDIT,
    analysed: NO_EDIT,
    model: entry.digest,
    analysis: {
      probabilities,
      logits: [],
      embedding: [],
      cam: null,
      reasons: unlike ? [{ key: "unlike" }] : [],
      hints: [],
      picture: null as unknown as ImageBitmap,
      size: { width: 1, height: 1 },
      timing: { decode: 0, resize: 0, infer: 0, total: 0 },
    },
  };
}

function draw(what: Parameters<typeof render>[0]): HTMLElement {
  render(what, document.body);
  return document.body;
}

beforeEach(async () => {
  await speak("en");
  model.value = { kind: "ready", entry, spec, card: "" };
  capture.value = "dermatoscope";
  concerns.value = [];
  notices.value = [];
});
afterEach(() => {
  render(null, document.body);
  photos.value = [];
});

describe("the check under way", () => {
  const verdictOf = (...shown: Photo[]): Answer["verdict"] => {
    photos.value = shown;
    return answer.value!.verdict;
  };

  test("says above the line where a benign class leads", () => {
    expect(verdictOf(photo(0, BENIGN_LEADS))).toMatchObject({ kind: "above" });
    const page = draw(
      h(VerdictBanner, { verdict: answer.value!.verdict, facts: { malignant: 0.44, point: spec.operating_points[0] } }),
    );
    expect(page.querySelector("h2")!.textContent).toBe("Above the line for malignant classes");
    expect(page.textContent).not.toContain("eratosis");
    expect(page.querySelector(".verdict-mark-above")).not.toBeNull(); // shape as well as words
  });

  test("does not average an alarm away, and leaves out what the model can't tell", () => {
    const mean = [photo(0, BENIGN_LEADS), ...[1, 2, 3, 4].map((id) => photo(id, BENIGN))];
    expect(verdictOf(...mean)).toMatchObject({ kind: "unsure", doubt: "disagree" });
    expect(verdictOf(photo(0, BENIGN), photo(1, BENIGN_LEADS, true))).toEqual({ kind: "below" });
    expect(verdictOf(photo(0, BENIGN, true))).toMatchObject({ kind: "unsure", doubt: "abstained" });
  });

  test("follows what the person answers, upwards only", () => {
    expect(verdictOf(photo(0, BENIGN))).toEqual({ kind: "below" });
    toggleConcern("bleeding");
    expect(answer.value!.verdict).toMatchObject({ kind: "unsure", doubt: "concern" });
    toggleConcern("bleeding");
    expect(answer.value!.verdict).toEqual({ kind: "below" });
  });

  test("gives no verdict on a plain camera's photograph by a dermatoscope's model", () => {
    capture.value = "camera";
    expect(verdictOf(photo(0, BENIGN))).toMatchObject({ kind: "unsure", doubt: "otherKind" });
    const page = draw(h(Results, { answer: answer.value!, spec, hints: [], chosen: 0, onChoose: () => undefined }));
    expect(page.querySelector("[data-testid=prediction-set]")).toBeNull();
    expect(page.querySelector(".bars-muted")).not.toBeNull();
    expect(page.textContent).toContain("Other diseases exist");
  });
});

test("photographs that look like different lesions are never averaged without a word", () => {
  const lead = (...shown: Photo[]): string => {
    photos.value = shown;
    return draw(h(Lead, { answer: answer.value!, spec })).textContent!;
  };
  const other = [0.01, 0.01, 0.02, 0.02, 0.02, 0.02, 0.9];
  expect(lead(photo(0, BENIGN), photo(1, other))).toContain("look like different lesions");
  const spoken = verdictInWords(answer.value!.verdict, { malignant: 0, point: null }, answer.value!.differ);
  expect(spoken).toContain("look like different lesions");
  expect(lead(photo(0, BENIGN), photo(1, BENIGN))).not.toContain("look like different lesions");
});

describe("research use only", () => {
  const NOTICE = "Research use only. Not a diagnosis, not a medical device.";
  beforeEach(() => {
    HTMLDialogElement.prototype.showModal ??= () => undefined;
  });

  test.each(["check", "notebook", "patients", "models"] as const)("is said at the foot of the page %s", (page) => {
    route.value = { page };
    expect(draw(h(App, {})).querySelector(".foot")!.textContent).toContain(NOTICE);
    route.value = { page: "check" };
  });

  test("is said beneath the verdict", () => {
    photos.value = [photo(0, BENIGN)];
    expect(draw(h(Lead, { answer: answer.value!, spec })).textContent).toContain(NOTICE);
  });
});

test("an answer says what its bundle does not carry, and claims no more", () => {
  const bare = { ...spec, operating_points: [], conformal: null, abstention: null, domain: "not stated" as const };
  const shownFor = (carried: Spec): HTMLElement => {
    model.value = { kind: "ready", entry, spec: carried, card: "" };
    photos.value = [photo(0, BENIGN)];
    return draw(h(Results, { answer: answer.value!, spec: carried, hints: [], chosen: 0, onChoose: () => undefined }));
  };
  const find = (id: string) => document.querySelector(`[data-testid=${id}]`);
  shownFor(bare);
  expect(answer.value!.verdict).toMatchObject({ kind: "unsure", doubt: "noLine" });
  expect(find("prediction-set")).toBeNull();
  expect(find("not-stated")).not.toBeNull();
  expect(find("never-abstains")).not.toBeNull();
  shownFor({ ...spec, abstention: { score: "energy", threshold: 1, accepted: 0.9, images: 1, measured: {} } });
  expect(find("not-stated")).toBeNull();
  expect(find("never-abstains")).toBeNull();
});

test("no answer of one model is shown under another's name", () => {
  photos.value = [photo(0, BENIGN)];
  expect(answer.value!.verdict).toEqual({ kind: "below" });
  model.value = { kind: "ready", entry: { ...entry, digest: "1" }, spec, card: "" };
  expect(answer.value).toBeNull();
});

test("a card tells the verdict in words and shape", () => {
  const page = draw(h(VerdictLine, { verdict: { kind: "above", concerns: [] } }));
  expect(page.textContent).toBe("Above the line for malignant classes");
  expect(page.querySelector("svg")).not.toBeNull();
});

test("the question how photographs are taken has two answers and no way around", () => {
  HTMLDialogElement.prototype.showModal ??= () => undefined;
  const page = draw(h(CaptureQuestion, {}));
  expect([...page.querySelectorAll("button")].map((button) => button.dataset["testid"])).toEqual([
    "taken-dermatoscope",
    "taken-camera",
  ]);
});

test("what comes while a dialog is open is shown in it, since the page behind it is out of reach", async () => {
  notices.value = [];
  tellError(new AppError("imageEmpty"), "before.jpg");
  const page = draw(
    <>
      <Notices />
      <CaptureQuestion />
    </>,
  );
  expect(openDialogs.value).toHaveLength(1);
  tellError(new AppError("imageEmpty"), "within.jpg");
  await vi.waitFor(() => expect(page.querySelector("dialog")!.textContent).toContain("within.jpg"));
  expect(page.textContent!.match(/(before|within)\.jpg/g)).toEqual(["before.jpg", "within.jpg"]);
  expect(page.querySelector("dialog")!.textContent).not.toContain("before.jpg");
  draw(null);
  expect(openDialogs.value).toEqual([]);
});

test("messages: three at most, none twice, and what was done can be undone", () => {
  let undone = 0;
  for (let i = 0; i < 5; i++) tellError(new AppError("imageEmpty"), `${i}.jpg`);
  expect(notices.value).toHaveLength(3);
  tellError(new AppError("imageEmpty"), "4.jpg");
  expect(notices.value).toHaveLength(3);
  tellDone("photoRemoved", {}, () => undone++);
  const page = draw(<Notices />);
  page.querySelector<HTMLButtonElement>("[data-testid=undo]")!.click();
  expect(undone).toBe(1);
  expect(notices.value.every(({ kind }) => kind === "error")).toBe(true);
});

describe("a kept visit", () => {
  const visit: Visit = {
    ...{ id: "v", caseId: "c", date: "2024-02-01", note: "", photos: [], created: "2024-02-01T00:00:00.000Z" },
    ...{ classes: spec.classes, probabilities: BENIGN, malignant: 0.04, abstained: false, domain: "dermoscopy" },
    operatingPoint: { name: "x", threshold: 0.2 },
    set: { coverage: 0.9, codes: ["nv"] },
    model: { name: "alpha", version: "1", title: "Alpha", digest: "0" },
  };
  const drawn = (taken: NonNullable<Visit["taken"]>) => draw(h(VisitView, { visit: { ...visit, taken }, heat: 0 }));

  test("shows what remains only where the model was made for the photograph", () => {
    const page = drawn("dermatoscope");
    expect(page.querySelector("[data-testid=verdict]")!.getAttribute("data-kind")).toBe("below");
    expect(page.querySelector("[data-testid=prediction-set]")).not.toBeNull();
    expect(page.textContent).not.toContain("not an answer");
    const other = drawn("camera");
    expect(other.querySelector("[data-testid=verdict]")!.getAttribute("data-kind")).toBe("unsure");
    expect(other.querySelector("[data-testid=prediction-set]")).toBeNull();
    expect(other.textContent).toContain("not an answer");
    expect(other.textContent).toContain("Research use only");
  });

  test("of another kind of photograph is muted where it is compared and on paper", () => {
    const other: Visit = { ...visit, id: "w", date: "2024-03-01", taken: "camera" };
    const compared = (...visits: Visit[]) => draw(h(Compare, { visits, heat: 0 }));
    const one = compared(visit, { ...visit, id: "w" });
    expect(one.querySelector(".bars-muted")).toBeNull();
    expect(one.querySelector("[data-testid=compare-probability]")).not.toBeNull();
    const two = compared(visit, other);
    expect(two.querySelector(".bars-muted")).not.toBeNull();
    expect(two.querySelector("[data-testid=compare-probability]")).toBeNull();
    expect(two.textContent).toContain("Research use only");
    const onPaper = (kept: Visit): string => draw(h(ReportVisit, { visit: kept })).textContent!;
    expect(onPaper(visit)).toContain("Melanocytic nevus 90");
    expect(onPaper(other)).toContain("Can't tell");
    expect(onPaper(other)).not.toContain("Melanocytic nevus 90");
  });

  test("says what is odd about its photographs wherever it is shown", async () => {
    const one = { ...photo(0, BENIGN).analysis!, image: new Blob(), width: 1, height: 1 };
    const odd: Visit = {
      ...visit,
      differ: true,
      photos: [one, { ...one, reasons: [{ key: "unlike" as const }] }].map(
        ({ image, width, height, probabilities, reasons }) => ({
          ...{ image, width, height, probabilities, reasons, cam: null },
        }),
      ),
    };
    vi.stubGlobal("createImageBitmap", () => new Promise(() => undefined));
    for (const what of [
      h(VisitView, { visit: odd, heat: 0 }),
      h(ReportVisit, { visit: odd }),
      h(Compare, { visits: [odd, { ...visit, id: "w" }], heat: 0 }),
    ]) {
      const text = draw(what).textContent;
      expect(text).toContain("look like different lesions");
      expect(text).toContain("Left out, since the model can't tell on them: 1");
    }
    vi.unstubAllGlobals();
  });

  test("is no mere doubt in FHIR where some photographs are above the line", async () => {
    const record = async (change: Partial<Visit>): Promise<string> => {
      const head = { id: "c", title: "", site: null, note: "", created: visit.created, updated: visit.created };
      const lesions = [{ ...head, visits: [{ ...visit, ...change }] }];
      return JSON.stringify(await fhirRecord({ patient: null, lesions, sheets: [], placeName: () => "" }));
    };
    expect(await record({ photos: [photoOf(BENIGN), photoOf(BENIGN_LEADS)] })).toContain(
      "some photographs are above the line",
    );
    expect(await record({ concerns: ["bleeding"] })).toContain("is a reason for concern");
    const other = await record({ taken: "camera", differ: true });
    expect(other).toContain("made for another kind of photograph");
    expect(other).toContain("The class probabilities are not an answer.");
    expect(other).toContain("look like different lesions");
    expect(await record({})).not.toContain("are not an answer");
  });

  test("says what its line meant at the prevalence that was stated", async () => {
    const estimate = (value: number) => ({ value, low: value / 2, high: Math.min(1, 1.5 * value) });
    const values = { prevalence: 0.03, ppv: estimate(0.08), npv: { value: 0.998, low: 0.996, high: 0.999 } };
    const said = (kept: Visit): string => draw(h(VisitView, { visit: kept, heat: 0 })).textContent!;
    expect(said({ ...visit, values })).toContain("of 1000 lesions below this line about 2 (1–4) are malignant");
    expect(said({ ...visit, values, malignant: 0.5 })).toContain("of 100 lesions above this line about 8 (4–12)");
    expect(said(visit)).not.toContain("are malignant");
    const answered = async (malignant: number): Promise<string> => {
      const one = { id: "c", title: "", site: null, note: "", created: visit.created, updated: visit.created };
      const lesions = [{ ...one, visits: [{ ...visit, values, malignant }] }];
      return JSON.stringify(await fhirRecord({ patient: null, lesions, sheets: [], placeName: () => "" }));
    };
    expect(await answered(0.5)).toMatch(/"code":"ppv".*"value":0.08.*"low":{"value":0.04/);
    expect(await answered(0.04)).toMatch(/"code":"prevalence".*"value":0.03.*"code":"npv".*"value":0.998/);
    for (const [code, sentence] of [
      ["es", "de 1000 lesiones por debajo de esta línea unas 2 (1–4)"],
      ["zh", "每 1000 处低于此界线的皮损中约有 2 (1–4)"],
    ]) {
      await speak(code);
      expect(said({ ...visit, values })).toContain(sentence);
    }
  });
});

describe("a kept photograph", () => {
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });

  test("that is replaced while it is decoded is never drawn once closed", async () => {
    const decoding: ((picture: ImageBitmap) => void)[] = [];
    vi.stubGlobal("createImageBitmap", () => new Promise<ImageBitmap>((resolve) => decoding.push(resolve)));
    const drawn: boolean[] = [];
    vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue({
      drawImage: ({ width }: ImageBitmap) => drawn.push(width > 0), // a closed bitmap is 0 pixels wide
    } as never);
    const bitmap = (): ImageBitmap => {
      const made = { width: 4, height: 4, close: () => void Object.assign(made, { width: 0, height: 0 }) };
      return made;
    };
    const kept = (): VisitPhoto => ({ image: new Blob(), width: 4, height: 4, cam: null }) as VisitPhoto;
    const show = (photo: VisitPhoto) =>
      render(h(KeptPhoto, { photo, classIndex: 0, heat: 0, label: "photograph" }), document.body);

    show(kept());
    await vi.waitFor(() => expect(decoding).toHaveLength(1));
    // Decoded just after its place is given to another, before the effects of that have run.
    show(kept());
    decoding[0](bitmap());
    await vi.waitFor(() => expect(decoding).toHaveLength(2));
    decoding[1](bitmap());
    await vi.waitFor(() => expect(document.querySelector("canvas")).not.toBeNull());
    await vi.waitFor(() => expect(drawn).not.toHaveLength(0));
    expect(drawn).not.toContain(false);
  });
});

describe("the prevalence", () => {
  const RATES = { sensitivity: { value: 0.9, low: 0.8, high: 1 }, specificity: { value: 0.7, low: 0.6, high: 0.8 } };
  const measured: Spec = { ...spec, metrics: { "test at sensitivity_90": RATES } };
  const field = (): HTMLInputElement | null => draw(h(Prevalence, {})).querySelector("[data-testid=prevalence]");
  const type = (text: string): void => {
    const input = field()!;
    input.value = text;
    input.dispatchEvent(new Event("change"));
  };
  afterEach(() => choosePrevalence(""));

  test("is asked for, and used, only where the model has figures of its test", () => {
    choosePrevalence("2");
    expect(field()).toBeNull();
    expect(chosenValues(spec)).toBeNull();
    model.value = { kind: "ready", entry, spec: measured, card: "" };
    expect(field()!.value).toBe("2");
    expect(chosenValues(measured)!.ppv.value).toBeCloseTo(180 / 3120);
  });

  test("is kept as typed, may be left out, and is never none or all", () => {
    model.value = { kind: "ready", entry, spec: measured, card: "" };
    expect(chosenValues(measured)).toBeNull();
    type("5");
    expect(chosenValues(measured)!.prevalence).toBe(0.05);
    expect(localStorage.getItem("lentigo.prevalence")).toBe("5");
    for (const refused of ["0", "100"]) {
      type(refused);
      expect(field()!.value).toBe("5");
      choosePrevalence(refused); // from an older page
      expect(chosenValues(measured)).toBeNull();
      choosePrevalence("5");
    }
    type("");
    expect(chosenValues(measured)).toBeNull();
  });
});
