/** What the two runtimes have in common. */

/** One output of a graph. */
export interface Output {
  shape: readonly number[];
  data: Float32Array<ArrayBuffer>;
}

/** A loaded graph. */
export interface Runner {
  /**
   * @param image (1, 3, size, size)
   * @returns the outputs by name
   */
  run(image: Float32Array<ArrayBuffer>, size: number): Promise<Record<string, Output>>;
  release(): Promise<void>;
}
