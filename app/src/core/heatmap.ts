/** Class-activation maps as colour. */

/** One class's map: `values` (height, width), row-major, not negative. */
export interface Cam {
  width: number;
  height: number;
  values: Float32Array;
}

/** The map of class `index` from the graph's `cam` (K, h, w). */
export function classMap(cam: { shape: readonly number[]; values: Float32Array }, index: number): Cam {
  const [, height, width] = cam.shape;
  return { width, height, values: cam.values.subarray(index * width * height, (index + 1) * width * height) };
}

/**
 * Enlarge a map bilinearly (pixel centres aligned) and scale it to [0, 1] by its own maximum.
 *
 * @returns (size, size) row-major; all zero where the map is
 */
export function enlarge(cam: Cam, size: number): Float32Array {
  const { width, height, values } = cam;
  let top = 0;
  for (const value of values) top = Math.max(top, value);
  const result = new Float32Array(size * size);
  if (top === 0) return result;
  const at = (index: number, length: number): [number, number, number] => {
    const position = Math.min(Math.max(((index + 0.5) * length) / size - 0.5, 0), length - 1);
    const low = Math.floor(position);
    return [low, Math.min(low + 1, length - 1), position - low];
  };
  const columns = Array.from({ length: size }, (_, x) => at(x, width));
  for (let y = 0; y < size; y++) {
    const [y0, y1, fy] = at(y, height);
    for (let x = 0; x < size; x++) {
      const [x0, x1, fx] = columns[x];
      const upper = values[y0 * width + x0] * (1 - fx) + values[y0 * width + x1] * fx;
      const lower = values[y1 * width + x0] * (1 - fx) + values[y1 * width + x1] * fx;
      result[y * size + x] = (upper * (1 - fy) + lower * fy) / top;
    }
  }
  return result;
}

// Matplotlib's "inferno" (N. Smith and S. van der Walt, CC0) as the polynomial fitted by M. Zucker (CC0), lowest
// degree first; the same as `lentigo.inference.heatmap`. Brightness alone carries the order.
const INFERNO: readonly (readonly [number, number, number])[] = [
  [0.0002189403691192265, 0.001651004631001012, -0.01948089843709184],
  [0.1065134194856116, 0.5639564367884091, 3.932712388889277],
  [11.60249308247187, -3.972853965665698, -15.9423941062914],
  [-41.70399613139459, 17.43639888205313, 44.35414519872813],
  [77.162935699427, -33.40235894210092, -81.80730925738993],
  [-71.31942824499214, 32.62606426397723, 73.20951985803202],
  [25.13112622477341, -12.24266895238567, -23.07032500287172],
];

/** Colour a map in [0, 1]: (N,) -> (N, 4); the colder a place, the more transparent, so that the skin stays visible. */
export function colourise(map: Float32Array): Uint8ClampedArray<ArrayBuffer> {
  const rgba = new Uint8ClampedArray(map.length * 4);
  map.forEach((heat, i) => {
    for (let c = 0; c < 3; c++) rgba[4 * i + c] = 255 * INFERNO.reduceRight((sum, row) => sum * heat + row[c], 0);
    rgba[4 * i + 3] = 255 * heat;
  });
  return rgba;
}
