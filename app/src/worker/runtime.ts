/** The runtime's WebAssembly: where it is, and how the page compiles it for the worker. */

import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

export { wasmUrl };

/** Compile the runtime while the worker's script is still on its way; null where this fails, and the worker says why. */
export async function compileRuntime(): Promise<WebAssembly.Module | null> {
  try {
    return await WebAssembly.compileStreaming(fetch(wasmUrl));
  } catch {
    return null;
  }
}
