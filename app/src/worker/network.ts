/** The bundle's graph in ONNX Runtime: WebAssembly with SIMD, one thread. */

import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { AppError } from "../core/errors";
import type { Spec } from "../core/spec";
import type { Cams } from "./protocol";

// A graph of one Identity node: loading it starts the runtime while the weights are still on their way.
const SMALLEST_GRAPH = "CAg6NwoQCgFhEgFiIghJZGVudGl0eRIBZ1oPCgFhEgoKCAgBEgQKAggBYg8KAWISCgoICAESBAoCCAFCBAoAEA0=";

/** What the graph says about one image. */
export interface Outputs {
  logits: Float32Array<ArrayBuffer>; // (K,)
  embedding: Float32Array<ArrayBuffer>; // (D,)
  cam: Cams | null;
}

/**
 * Start ONNX Runtime.
 *
 * @throws AppError: WebAssembly is missing or forbidden
 */
export async function startRuntime(): Promise<void> {
  if (typeof WebAssembly !== "object") throw new AppError("wasmMissing");
  env.wasm.wasmPaths = { wasm: wasmUrl };
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
  }
}

/** A loaded graph. */
export class Network {
  private constructor(
    private readonly session: InferenceSession,
    private readonly spec: Spec,
    private readonly names: string[],
  ) {}

  /**
   * Load a graph and run it once, so that the first photograph does not wait for the set-up.
   *
   * @throws AppError: ONNX Runtime cannot load it, or it is not what the specification says
   */
  static async open(spec: Spec, model: Uint8Array): Promise<Network> {
    let session: InferenceSession;
    try {
      session = await InferenceSession.create(model, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    } catch (error) {
      throw new AppError("modelUnloadable", { detail: firstLine(error) });
    }
    const names = spec.outputs.cam === null ? ["logits", "embedding"] : ["logits", "embedding", "cam"];
    const network = new Network(session, spec, names);
    try {
      const missing = names.find((name) => !session.outputNames.includes(name));
      if (!session.inputNames.includes("image") || missing !== undefined) {
        throw new AppError("modelMismatch", { detail: missing ?? "image" });
      }
      await network.run(new Float32Array(3 * spec.input.size ** 2));
    } catch (error) {
      await session.release();
      throw error;
    }
    return network;
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
      };
    } finally {
      for (const name of this.names) results[name].dispose();
      input.dispose();
    }
  }

  release(): Promise<void> {
    return this.session.release();
  }
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n", 1)[0].slice(0, 200);
}
