/** From pixels to the graph's input. */

/**
 * Scale to [0, 1], normalise per channel, and put channels first.
 *
 * @param pixels (size, size, 3) uint8, RGB
 * @returns (1, 3, size, size) float32
 */
export function normalise(
  pixels: Uint8Array,
  size: number,
  mean: readonly number[],
  std: readonly number[],
): Float32Array<ArrayBuffer> {
  const area = size * size;
  const tensor = new Float32Array(3 * area);
  for (let c = 0; c < 3; c++) {
    const levels = new Float32Array(256); // an 8-bit image has no more
    for (let v = 0; v < 256; v++) levels[v] = (v / 255 - mean[c]) / std[c];
    for (let i = 0, p = c; i < area; i++, p += 3) tensor[c * area + i] = levels[pixels[p]];
  }
  return tensor;
}
