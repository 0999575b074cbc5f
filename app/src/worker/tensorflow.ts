/**
 * The usual runtime: TensorFlow.js's WebAssembly kernels (XNNPACK), called in the order of the graph's nodes.
 *
 * It starts several times faster than ONNX Runtime, whose WebAssembly is 30 times as large, and knows the operators of
 * lentigo's own networks.
 */

import { env, setBackend, type TensorInfo } from "@tensorflow/tfjs-core";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm/dist/base";
import "./kernels";
import type { Constant, Graph, Node } from "./onnx";
import {
  activationOf,
  channelsLast,
  type Context,
  first,
  free,
  OPERATORS,
  product,
  scoped,
  type Step,
  tensorOf,
  UnsupportedError,
  type Value,
  valuesOf,
} from "./operators";
import type { Output, Runner } from "./runner";

/**
 * Start the kernels.
 *
 * @param url of the backend's WebAssembly with SIMD
 * @throws Error: it cannot be fetched or compiled
 */
export async function startKernels(url: string): Promise<void> {
  env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  env().set("WASM_HAS_SIMD_SUPPORT", true); // the only build that the app has
  const names = ["tfjs-backend-wasm.wasm", "tfjs-backend-wasm-simd.wasm", "tfjs-backend-wasm-threaded-simd.wasm"];
  setWasmPaths(Object.fromEntries(names.map((name) => [name, url])));
  if (!(await setBackend("wasm"))) throw new Error("WebAssembly does not start");
}

/** One node, ready to run. */
interface Prepared {
  step: Step;
  inputs: string[];
  output: string;
  /** Which inputs no later node reads. */
  over: string[];
}

/** A graph whose weights are in the kernels' memory. */
export class Interpreter implements Runner {
  private readonly kept: TensorInfo[] = [];
  private readonly constants = new Map<string, Value>();
  private readonly plan: Prepared[] = [];

  /** @throws UnsupportedError: an operator, attribute or type that is not known here */
  constructor(
    private readonly graph: Graph,
    private readonly outputs: readonly string[],
  ) {
    try {
      this.prepare();
    } catch (error) {
      void this.release();
      throw error;
    }
  }

  private prepare(): void {
    const { nodes, constants } = this.graph;
    const readers = new Map<string, Node[]>();
    for (const node of nodes) for (const name of node.inputs) readers.set(name, [...(readers.get(name) ?? []), node]);
    const context: Context = {
      constant: (name) => this.constant(name),
      keep: (make) => this.keep(make),
      activation: { activation: "linear" },
    };
    /** The activation after a convolution, where nothing else reads what lies between. */
    const following = (node: Node): Node | undefined => {
      const [output] = node.outputs;
      const [next, ...others] = readers.get(output) ?? [];
      const alone = node.operator === "Conv" && others.length === 0 && !this.outputs.includes(output);
      return alone && next?.inputs[0] === output ? next : undefined;
    };
    const folded = new Set<Node>();
    const known = new Set(["", "image", ...constants.keys()]);
    for (const node of nodes) {
      if (folded.has(node)) continue;
      const operator = ["", "ai.onnx"].includes(node.domain) ? OPERATORS[node.operator] : undefined;
      if (operator === undefined || node.outputs.length !== 1) throw new UnsupportedError(node.operator);
      if (!node.inputs.every((name) => known.has(name))) throw new UnsupportedError(`order of ${node.operator}`);
      const weights = node.operator === "Cast" ? this.constant(node.inputs[0]) : undefined;
      if (weights !== undefined) {
        constants.set(node.outputs[0], weights); // of half precision: they were read as single precision
        known.add(node.outputs[0]);
        continue;
      }
      const next = following(node);
      const activation = next && activationOf(next, context);
      if (next && activation) folded.add(next);
      const step = operator(node, activation ? { ...context, activation } : context);
      const [output] = (next && activation ? next : node).outputs;
      known.add(output);
      this.plan.push({ step, inputs: node.inputs.filter((name) => !constants.has(name)), output, over: [] });
    }
    if (!this.outputs.every((name) => known.has(name))) throw new UnsupportedError("an output that is not computed");
    const later = new Set(this.outputs);
    for (const prepared of this.plan.toReversed()) {
      prepared.over = prepared.inputs.filter((name) => !later.has(name));
      for (const name of prepared.inputs) later.add(name);
    }
  }

  private constant(name = ""): Constant | undefined {
    const found = this.graph.constants.get(name);
    if (found !== undefined && found.data.length !== product(found.shape))
      throw new UnsupportedError(`type of ${name}`);
    return found;
  }

  private keep(make: () => TensorInfo): TensorInfo {
    const { tensor } = scoped(() => ({ tensor: make() }));
    this.kept.push(tensor);
    return tensor;
  }

  // Nothing waits in here: the kernels run at once.
  async run(image: Float32Array<ArrayBuffer>, size: number): Promise<Record<string, Output>> {
    const values = new Map<string, Value>();
    const compute = (name: string, step: () => Value): void => void values.set(name, scoped(step));
    const drop = (name: string): void => {
      const value = values.get(name);
      if (value !== undefined) free(value.tensor);
      values.delete(name);
    };
    const read = (name: string): Value => values.get(name) ?? this.constantValue(name);
    const found: Record<string, Output> = {};
    try {
      compute("image", () => channelsLast(tensorOf({ data: image, shape: [1, 3, size, size] })));
      for (const { step, output, over } of this.plan) {
        compute(output, () => step(read));
        over.forEach(drop);
      }
      for (const name of this.outputs) {
        const { tensor } = scoped(() => ({ tensor: first(read(name)) }));
        found[name] = { shape: tensor.shape, data: valuesOf(tensor) };
        free(tensor);
      }
    } finally {
      [...values.keys()].forEach(drop);
    }
    this.graph.constants.clear(); // all that is read has been put into the kernels' memory
    return found;
  }

  private constantValue(name: string): Value {
    let value = this.constants.get(name);
    if (value === undefined) {
      const constant = this.constant(name);
      if (constant === undefined) throw new Error(`${name} is not computed`);
      this.constants.set(name, (value = { tensor: this.keep(() => tensorOf(constant)) }));
    }
    return value;
  }

  async release(): Promise<void> {
    this.kept.forEach(free);
  }
}
