/** The runtime for graphs with operators that src/worker/operators.ts does not know, such as int8 ones. */

import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import type { Output, Runner } from "./runner";

export { wasmUrl };

/** How graphs name the dimension of their batch (`lentigo.bundle`). */
const BATCH_AXIS = "batch";

env.wasm.wasmPaths = { wasm: wasmUrl };
env.wasm.numThreads = 1;
env.wasm.proxy = false; // this is the worker
env.logLevel = "error";

/** A session of ONNX Runtime: WebAssembly with SIMD, one thread. */
export class Session implements Runner {
  private constructor(
    private readonly session: InferenceSession,
    private readonly outputs: readonly string[],
  ) {}

  /** @throws Error: the runtime cannot be fetched or started, or cannot load the graph */
  static async open(model: Uint8Array, outputs: readonly string[]): Promise<Session> {
    const session = await InferenceSession.create(model, {
      executionProviders: ["wasm"],
      freeDimensionOverrides: { [BATCH_AXIS]: 1 }, // with a batch that is not known, a graph takes twice as long to load
    });
    return new Session(session, outputs);
  }

  async run(image: Float32Array<ArrayBuffer>, size: number): Promise<Record<string, Output>> {
    const input = new Tensor("float32", image, [1, 3, size, size]);
    const results = await this.session.run({ image: input }, [...this.outputs]);
    const found: Record<string, Output> = {};
    for (const [name, result] of Object.entries(results)) {
      const { dims, data } = result as Tensor;
      found[name] = { shape: dims, data: new Float32Array(data as Float32Array) }; // a copy: its memory is let go
      result.dispose();
    }
    input.dispose();
    return found;
  }

  release(): Promise<void> {
    return this.session.release();
  }
}
