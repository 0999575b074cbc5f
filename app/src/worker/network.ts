/** A bundle's graph, in the runtime that can run it. */

import { AppError } from "../core/errors";
import type { Spec } from "../core/spec";
import { MODALITIES } from "../core/abstention";
import { type Graph, parseGraph, type ValueInfo } from "./onnx";
import { UnsupportedError } from "./operators";
import type { Cams } from "./protocol";
import type { Output, Runner } from "./runner";
import { Interpreter, startKernels } from "./tensorflow";

/** What the graph says about one image. */
export interface Outputs {
  logits: Float32Array<ArrayBuffer>; // (K,)
  embedding: Float32Array<ArrayBuffer>; // (D,)
  cam: Cams | null;
  /** How unlike the training images the image is; null where the graph does not say. */
  atypicality: number | null;
  /** One logit a kind of picture; null where the graph does not tell them. */
  modality: Float32Array<ArrayBuffer> | null;
}

/**
 * Start the usual runtime.
 *
 * @param url of its WebAssembly
 * @throws AppError: WebAssembly is missing or forbidden, or cannot be fetched
 */
export async function startRuntime(url: string): Promise<void> {
  if (typeof WebAssembly !== "object") throw new AppError("wasmMissing");
  await startKernels(url).catch((error: unknown) => cannotStart(url, error));
}

/** A runtime does not start: its WebAssembly cannot be fetched, or none may run. */
async function cannotStart(url: string, error: unknown): Promise<never> {
  const reached = await fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
  if (reached) throw new AppError("wasmBlocked", { detail: firstLine(error) });
  throw new AppError("runtimeUnreachable", { detail: url.split("/").at(-1) ?? url });
}

/** A loaded graph. */
export class Network {
  private constructor(
    private readonly runner: Runner,
    private readonly spec: Spec,
    private readonly shapes: Record<string, readonly number[]>,
  ) {}

  /**
   * Load a graph.
   *
   * @throws AppError: it is no ONNX file or not what the specification says, or no runtime can load it
   */
  static async open(spec: Spec, model: Uint8Array): Promise<Network> {
    let graph: Graph;
    try {
      graph = parseGraph(model);
    } catch (error) {
      throw new AppError("modelUnloadable", { detail: firstLine(error) });
    }
    const { size } = spec.input;
    const classes = spec.classes.length;
    const shapes: Record<string, number[]> = { logits: [classes], embedding: [spec.outputs.embedding] };
    if (spec.outputs.cam !== null) shapes["cam"] = [classes, ...spec.outputs.cam];
    if (spec.outputs.atypicality) shapes["atypicality"] = [];
    if (graph.outputs.some(({ name }) => name === "modality")) shapes["modality"] = [MODALITIES.length];
    const detail = mismatch(graph.inputs, { image: [3, size, size] }) ?? mismatch(graph.outputs, shapes);
    if (detail !== null) throw new AppError("modelMismatch", { detail });
    const names = Object.keys(shapes);
    try {
      return new Network(new Interpreter(graph, names), spec, shapes);
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw new AppError("modelUnloadable", { detail: firstLine(error) });
    }
    const { Session, wasmUrl } = await import("./onnxruntime").catch((error: unknown) => {
      throw new AppError("runtimeUnreachable", { detail: firstLine(error) });
    });
    try {
      return new Network(await Session.open(model, names), spec, shapes);
    } catch (error) {
      const detail = firstLine(error);
      if (detail.includes("no available backend")) await cannotStart(wasmUrl, error);
      throw new AppError("modelUnloadable", { detail });
    }
  }

  /**
   * Run the graph on one preprocessed image, (1, 3, S, S) float32.
   *
   * @throws AppError: the shapes are not those of the specification, or the network answers with NaN or infinity
   */
  async run(image: Float32Array<ArrayBuffer>): Promise<Outputs> {
    let results: Record<string, Output>;
    try {
      results = await this.runner.run(image, this.spec.input.size);
    } catch (error) {
      throw new AppError("modelMismatch", { detail: firstLine(error) });
    }
    for (const [name, shape] of Object.entries(this.shapes)) {
      const { shape: found, data } = results[name];
      if (found.length !== shape.length + 1 || shape.some((side, i) => found[i + 1] !== side))
        throw new AppError("modelMismatch", { detail: `${name} [${found.join(", ")}]` });
      if (!data.every(Number.isFinite)) throw new AppError("modelNotFinite");
    }
    const { logits, embedding, cam, atypicality, modality } = results;
    const sides = this.spec.outputs.cam;
    return {
      logits: logits.data,
      embedding: embedding.data,
      cam: sides === null ? null : { shape: [this.spec.classes.length, ...sides], values: cam.data },
      atypicality: this.spec.outputs.atypicality ? atypicality.data[0] : null,
      modality: "modality" in this.shapes ? modality.data : null,
    };
  }

  /** Run the graph once on nothing, so that its code is compiled. */
  async warmUp(): Promise<void> {
    await this.run(new Float32Array(3 * this.spec.input.size ** 2));
  }

  release(): Promise<void> {
    return this.runner.release();
  }
}

/** What is missing or has another type or shape than expected, behind the batch; null where nothing is. */
function mismatch(found: readonly ValueInfo[], expected: Record<string, readonly number[]>): string | null {
  for (const [name, shape] of Object.entries(expected)) {
    const value = found.find((candidate) => candidate.name === name);
    if (value === undefined || !value.float) return name;
    const sides = value.shape.slice(1); // one that the file leaves open may be anything
    if (sides.length !== shape.length || sides.some((side, i) => side !== null && side !== shape[i]))
      return `${name} [${value.shape.map((side) => side ?? "?").join(", ")}]`;
  }
  return null;
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n", 1)[0].slice(0, 200);
}
