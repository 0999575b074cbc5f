/** The backend's kernels that src/worker/operators.ts calls, and no others: the rest is left out of the app. */

import { registerKernel } from "@tensorflow/tfjs-core";
import { addConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Add";
import { avgPoolConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/AvgPool";
import { batchMatMulConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/BatchMatMul";
import { castConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Cast";
import { clipByValueConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/ClipByValue";
import { concatConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Concat";
import { expConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Exp";
import { fillConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Fill";
import { fusedConv2DConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/FusedConv2D";
import { fusedDepthwiseConv2DConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/FusedDepthwiseConv2D";
import { greaterConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Greater";
import { identityConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Identity";
import { leakyReluConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/LeakyRelu";
import { lessConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Less";
import { logConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Log";
import { maxConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Max";
import { maxPoolConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/MaxPool";
import { maximumConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Maximum";
import { meanConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Mean";
import { minConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Min";
import { minimumConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Minimum";
import { multiplyConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Multiply";
import { negConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Neg";
import { powConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Pow";
import { realDivConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/RealDiv";
import { reluConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Relu";
import { reshapeConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Reshape";
import { selectConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Select";
import { sigmoidConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Sigmoid";
import { sqrtConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Sqrt";
import { subConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Sub";
import { sumConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Sum";
import { tileConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Tile";
import { transposeConfig } from "@tensorflow/tfjs-backend-wasm/dist/kernels/Transpose";

for (const kernel of [
  addConfig,
  avgPoolConfig,
  batchMatMulConfig,
  castConfig,
  clipByValueConfig,
  concatConfig,
  expConfig,
  fillConfig,
  fusedConv2DConfig,
  fusedDepthwiseConv2DConfig,
  greaterConfig,
  identityConfig,
  leakyReluConfig,
  lessConfig,
  logConfig,
  maxConfig,
  maxPoolConfig,
  maximumConfig,
  meanConfig,
  minConfig,
  minimumConfig,
  multiplyConfig,
  negConfig,
  powConfig,
  realDivConfig,
  reluConfig,
  reshapeConfig,
  selectConfig,
  sigmoidConfig,
  sqrtConfig,
  subConfig,
  sumConfig,
  tileConfig,
  transposeConfig,
])
  registerKernel(kernel);
