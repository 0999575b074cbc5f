/** The bundle's graph in ONNX Runtime: WebAssembly with SIMD, one thread. */

import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import { AppError } from "../core/errors";
import type { Spec } from "../core/spec";
import type { Cams } from "./protocol";
import { wasmUrl } from "./runtime";

// A graph of one Identity node: loading it starts the runtime while the weights are still on their way.
const SMALLEST_GRAPH = "CAg6NwoQCgFhEgFiIghJZGVudGl0eRIBZ1oPCgFhEgoKCAgBEgQKAggBYg8KAWISCgoICAESBAoCCAFCBAoAEA0=";

/** How graphs name the dimension of their batch (`lentigo.bundle`). */
const BATCH_AXIS = "batch";

/** Graphs of fewer parameters are opened as the bundle has them. */
const SMALL = 5e6;

/**
 * Whether a graph is optimised only once the page can be used.
 *
 * Optimising a small graph saves a tenth of a classification, and would hold up the start for longer than that. An int8
 * graph needs the optimiser: only then is its arithmetic done in integers.
 */
function optimisedLater({ weights, network }: Spec): boolean {
  return weights !== "int8" && network.parameters < SMALL;
}

/** How a graph is loaded. Repacked weights save nothing in a small one. */
function optionsFor(spec: Spec, opening: boolean): InferenceSession.SessionOptions {
  const asItIs = optimisedLater(spec);
  return {
    executionProviders: ["wasm"],
    graphOptimizationLevel: asItIs ? (opening ? "disabled" : "extended") : "all",
    ...(asItIs && { extra: { session: { disable_prepacking: "1" } } }),
    freeDimensionOverrides: { [BATCH_AXIS]: 1 }, // with a batch that is not known, a graph takes twice as long to load
  };
}

/** What the graph says about one image. */
export interface Outputs {
  logits: Float32Array<ArrayBuffer>; // (K,)
  embedding: Float32Array<ArrayBuffer>; // (D,)
  cam: Cams | null;
  /** How unlike the training images the image is; null where the graph does not say. */
  atypicality: number | null;
}

/**
 * Start ONNX Runtime.
 *
 * @param module its compiled code; null to fetch and compile it here
 * @throws AppError: WebAssembly is missing or forbidden
 */
export async function startRuntime(module: WebAssembly.Module | null): Promise<void> {
  if (typeof WebAssembly !== "object") throw new AppError("wasmMissing");
  const { instantiate } = WebAssembly;
  if (module === null) env.wasm.wasmPaths = { wasm: wasmUrl };
  else {
    // ONNX Runtime takes bytes, not modules: it gets none, and asks the browser to compile them.
    env.wasm.wasmBinary = new ArrayBuffer(0);
    WebAssembly.instantiate = (async (_: BufferSource, imports: WebAssembly.Imports) => {
      return { module, instance: await instantiate(module, imports) };
    }) as typeof instantiate;
  }
  env.wasm.numThreads = 1;
  env.wasm.proxy = false; // this is the worker
  env.logLevel = "error";
  try {
    const bytes = Uint8Array.from(atob(SMALLEST_GRAPH), (character) => character.charCodeAt(0));
    const session = await InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    await session.release();
  } catch (error) {
    const detail = firstLine(error);
    throw new AppError(/fetch|network|load/i.test(detail) ? "runtimeUnreachable" : "wasmBlocked", { detail });
  } finally {
    WebAssembly.instantiate = instantiate;
  }
}

/** A loaded graph. */
export class Network {
  private constructor(
    private session: InferenceSession,
    private readonly spec: Spec,
    private readonly names: string[],
    /** What is still to be optimised. */
    private model: Uint8Array | null,
  ) {}

  /**
   * Load a graph.
   *
   * @throws AppError: ONNX Runtime cannot load it, or it is not what the specification says
   */
  static async open(spec: Spec, model: Uint8Array): Promise<Network> {
    let session: InferenceSession;
    try {
      session = await InferenceSession.create(model, optionsFor(spec, true));
    } catch (error) {
      throw new AppError("modelUnloadable", { detail: firstLine(error) });
    }
    const { size } = spec.input;
    const classes = spec.classes.length;
    const outputs: Record<string, number[]> = { logits: [classes], embedding: [spec.outputs.embedding] };
    if (spec.outputs.cam !== null) outputs["cam"] = [classes, ...spec.outputs.cam];
    if (spec.outputs.atypicality) outputs["atypicality"] = [];
    const detail =
      mismatch(session.inputMetadata, { image: [3, size, size] }) ?? mismatch(session.outputMetadata, outputs);
    if (detail !== null) {
      await session.release();
      throw new AppError("modelMismatch", { detail });
    }
    return new Network(session, spec, Object.keys(outputs), optimisedLater(spec) ? model : null);
  }

  /**
   * Run the graph on one preprocessed image, (1, 3, S, S) float32.
   *
   * @throws AppError: the shapes are not those of the specification, or the network answers with NaN or infinity
   */
  async run(image: Float32Array<ArrayBuffer>): Promise<Outputs> {
    const { size } = this.spec.input;
    const classes = this.spec.classes.length;
    const input = new Tensor("float32", image, [1, 3, size, size]);
    let results: InferenceSession.OnnxValueMapType;
    try {
      results = await this.session.run({ image: input }, this.names);
    } catch (error) {
      throw new AppError("modelMismatch", { detail: firstLine(error) });
    }
    const take = (name: string, shape: number[]): Float32Array<ArrayBuffer> => {
      const { dims, data } = results[name] as Tensor;
      if (
        dims.length !== shape.length + 1 ||
        shape.some((side, i) => dims[i + 1] !== side) ||
        !(data instanceof Float32Array)
      ) {
        throw new AppError("modelMismatch", { detail: `${name} [${dims.join(", ")}]` });
      }
      if (!data.every(Number.isFinite)) throw new AppError("modelNotFinite");
      return new Float32Array(data); // a copy: the runtime's own memory is let go below
    };
    try {
      const cam = this.spec.outputs.cam;
      return {
        logits: take("logits", [classes]),
        embedding: take("embedding", [this.spec.outputs.embedding]),
        cam: cam === null ? null : { shape: [classes, ...cam], values: take("cam", [classes, ...cam]) },
        atypicality: this.spec.outputs.atypicality ? take("atypicality", [])[0] : null,
      };
    } finally {
      for (const name of this.names) results[name].dispose();
      input.dispose();
    }
  }

  /** Optimise the graph where that was put off, and run it once on nothing, so that its code is compiled. */
  async warmUp(): Promise<void> {
    if (this.model !== null) {
      const optimised = await InferenceSession.create(this.model, optionsFor(this.spec, false));
      this.model = null;
      await this.session.release();
      this.session = optimised;
    }
    await this.run(new Float32Array(3 * this.spec.input.size ** 2));
  }

  release(): Promise<void> {
    return this.session.release();
  }
}

/** What is missing or has another shape than expected, behind the batch; null where nothing is. */
function mismatch(
  found: readonly InferenceSession.ValueMetadata[],
  expected: Record<string, readonly number[]>,
): string | null {
  for (const [name, shape] of Object.entries(expected)) {
    const value = found.find((candidate) => candidate.name === name);
    if (value === undefined || !value.isTensor) return name;
    const sides = value.shape.slice(1); // symbolic ones come as text and may be anything
    const wrong =
      sides.length !== shape.length || sides.some((side, i) => typeof side === "number" && side !== shape[i]);
    if (wrong) return `${name} [${value.shape.join(", ")}]`;
  }
  return null;
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n", 1)[0].slice(0, 200);
}
