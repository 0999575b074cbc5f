/** The worker: everything that takes longer than a frame. It answers one call after the other. */

import kernels from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url";
import { digest as digestOf, verifyFile } from "../core/bundle";
import { AppError, plainError } from "../core/errors";
import { type Edit, NO_EDIT } from "../core/geometry";
import { compareGolden, goldenImage, parseGolden } from "../core/golden";
import { softmax } from "../core/probabilities";
import { measureQuality } from "../core/quality";
import { CARD, GOLDEN, MODEL, parseSpec, SPEC, type Spec } from "../core/spec";
import { normalise } from "../core/tensor";
import { assess, modalityOf } from "../core/abstention";
import { checkReadBack, decode, toPicture, toSquare } from "./decode";
import { fetchFile } from "./fetch";
import { Network, type Outputs, startRuntime } from "./network";
import type { Analysis, BundleSource, CallName, Calls, Request, Response } from "./protocol";

const PICTURE_SIDE = 1280;

interface Opened {
  spec: Spec;
  source: BundleSource;
  network: Network;
}

let opened: Opened | null = null;
const runtime = startRuntime(kernels);
runtime.catch(() => undefined); // told when a model is opened

async function open(source: BundleSource): Promise<Calls["open"]["response"]> {
  const began = performance.now();
  checkReadBack();
  const files = Promise.all([MODEL, CARD].map((name) => readFile(source, name)));
  files.catch(() => undefined); // told below, after what is wrong with the specification
  const specBytes = await readFile(source, SPEC);
  if (source.kind === "url" && (await digestOf(specBytes)) !== source.digests[SPEC])
    throw new AppError("bundleDamaged", { file: SPEC });
  const spec = parseSpec(new TextDecoder().decode(specBytes));
  const [model, card] = await files;
  await Promise.all([verifyFile(spec, MODEL, model), verifyFile(spec, CARD, card), runtime]);
  const network = await Network.open(spec, model);
  // Only now: where anything above fails, the model that was open stays.
  await opened?.network.release();
  opened = { spec, source, network };
  return { spec, card: new TextDecoder().decode(card), milliseconds: performance.now() - began };
}

async function readFile(source: BundleSource, name: string): Promise<Uint8Array<ArrayBuffer>> {
  if (source.kind === "files") {
    if (name === SPEC) return new TextEncoder().encode(source.spec);
    if (!(name in source.files)) throw new AppError("bundleFileMissing", { file: name });
    return new Uint8Array(await source.files[name].arrayBuffer());
  }
  return new Uint8Array(await fetchFile(source.base, name, source.digests[name] ?? ""));
}

function current(): Opened {
  if (opened === null) throw new AppError("noModel");
  return opened;
}

async function classify({ blob, edit }: Calls["classify"]["request"]): Promise<Analysis> {
  const { spec, network } = current();
  const start = performance.now();
  const decoded = await decode(blob);
  try {
    const afterDecode = performance.now();
    const pixels = toSquare(decoded, edit, spec.input.size);
    const afterResize = performance.now();
    const outputs = await network.run(normalise(pixels, spec.input.size, spec.input.mean, spec.input.std));
    const { logits, embedding, cam } = outputs;
    const afterInfer = performance.now();
    const { picture, size } = toPicture(decoded, edit, PICTURE_SIDE);
    return {
      probabilities: softmax(logits, spec.temperature),
      logits: Array.from(logits),
      embedding: Array.from(embedding),
      cam,
      ...assess(spec, outputs, pixels),
      picture,
      size,
      timing: {
        decode: afterDecode - start,
        resize: afterResize - afterDecode,
        infer: afterInfer - afterResize,
        total: performance.now() - start,
      },
    };
  } catch (error) {
    decoded.bitmap.close();
    throw error;
  }
}

/** What the graph sees of an image file, and what it says. */
async function look(
  { spec, network }: Opened,
  blob: Blob,
  edit: Edit,
): Promise<{ pixels: Uint8Array; outputs: Outputs }> {
  const { size, mean, std } = spec.input;
  const decoded = await decode(blob);
  try {
    const pixels = toSquare(decoded, edit, size);
    return { pixels, outputs: await network.run(normalise(pixels, size, mean, std)) };
  } finally {
    decoded.bitmap.close();
  }
}

async function kind({ blob, edit }: Calls["kind"]["request"]): Promise<Calls["kind"]["response"]> {
  return modalityOf((await look(current(), blob, edit)).outputs.modality);
}

async function preview(request: Calls["preview"]["request"]): Promise<Calls["preview"]["response"]> {
  const { blob, edit, side = PICTURE_SIDE } = request;
  return toPicture(await decode(blob), edit, side);
}

async function check(): Promise<Calls["check"]["response"]> {
  const { spec, source } = current();
  const bytes = await readFile(source, GOLDEN);
  await verifyFile(spec, GOLDEN, bytes);
  const golden = parseGolden(new TextDecoder().decode(bytes));
  const { size } = spec.input;
  const differences: Calls["check"]["response"] = [];
  for (const example of golden.cases) {
    const file = new Blob([goldenImage(example)], { type: "image/png" });
    const { pixels, outputs } = await look(current(), file, NO_EDIT);
    const probabilities = softmax(outputs.logits, spec.temperature);
    differences.push(
      compareGolden(golden, example, {
        ...outputs,
        pixels,
        size,
        probabilities,
        cam: outputs.cam?.values ?? null,
        quality: measureQuality(pixels, size),
      }),
    );
  }
  return differences;
}

async function warmUp(): Promise<null> {
  await opened?.network.warmUp().catch(() => undefined); // told with the first photograph
  return null;
}

function answer(request: Request): Promise<Calls[CallName]["response"]> {
  switch (request.name) {
    case "open":
      return open(request.request);
    case "classify":
      return classify(request.request);
    case "kind":
      return kind(request.request);
    case "preview":
      return preview(request.request);
    case "check":
      return check();
    case "warmUp":
      return warmUp();
  }
}

function transferables(value: Calls[CallName]["response"]): Transferable[] {
  return typeof value === "object" && value !== null && "picture" in value && value.picture instanceof ImageBitmap
    ? [value.picture]
    : [];
}

// One call at a time: a session is not reentrant, and two decoded photographs may not fit into a phone's memory.
let queue: Promise<void> = Promise.resolve();
self.addEventListener("message", (event: MessageEvent<Request>) => {
  const request = event.data;
  queue = queue.then(async () => {
    let response: Response;
    let transfer: Transferable[] = [];
    try {
      const value = await answer(request);
      transfer = transferables(value);
      response = { id: request.id, ok: true, value };
    } catch (error) {
      response = { id: request.id, ok: false, error: plainError(error) };
    }
    self.postMessage(response, { transfer });
  });
});
