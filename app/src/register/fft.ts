/** Correlation of two small planes at every shift, by the fast Fourier transform. */

/** In place, radix 2; `inverse` leaves the factor 1/n out. */
function fft(
  real: Float64Array,
  imaginary: Float64Array,
  offset: number,
  step: number,
  n: number,
  inverse: boolean,
): void {
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      const a = offset + i * step;
      const b = offset + j * step;
      const re = real[a];
      real[a] = real[b];
      real[b] = re;
      const im = imaginary[a];
      imaginary[a] = imaginary[b];
      imaginary[b] = im;
    }
  }
  for (let length = 2; length <= n; length <<= 1) {
    const angle = ((inverse ? 2 : -2) * Math.PI) / length;
    const stepCos = Math.cos(angle);
    const stepSin = Math.sin(angle);
    for (let i = 0; i < n; i += length) {
      let cos = 1;
      let sin = 0;
      for (let k = 0; k < length / 2; k++) {
        const a = offset + (i + k) * step;
        const b = a + (length / 2) * step;
        const re = real[b] * cos - imaginary[b] * sin;
        const im = real[b] * sin + imaginary[b] * cos;
        real[b] = real[a] - re;
        imaginary[b] = imaginary[a] - im;
        real[a] += re;
        imaginary[a] += im;
        const turned = cos * stepCos - sin * stepSin;
        sin = cos * stepSin + sin * stepCos;
        cos = turned;
      }
    }
  }
}

export interface Spectrum {
  side: number;
  real: Float64Array;
  imaginary: Float64Array;
}

function transform(spectrum: Spectrum, inverse: boolean): void {
  const { side, real, imaginary } = spectrum;
  for (let row = 0; row < side; row++) fft(real, imaginary, row * side, 1, side, inverse);
  for (let column = 0; column < side; column++) fft(real, imaginary, column, side, side, inverse);
}

/** Spectrum of a square plane whose side is a power of two. */
export function spectrumOf(values: ArrayLike<number>, side: number): Spectrum {
  const spectrum = { side, real: Float64Array.from(values), imaginary: new Float64Array(side * side) };
  transform(spectrum, false);
  return spectrum;
}

/** The shift by which `moving` has to be read to match `fixed` best, and the correlation there. */
export function bestShift(fixed: Spectrum, moving: Spectrum): { dx: number; dy: number; peak: number } {
  const { side } = fixed;
  const product: Spectrum = { side, real: new Float64Array(side * side), imaginary: new Float64Array(side * side) };
  for (let i = 0; i < product.real.length; i++) {
    const a = moving.real[i];
    const b = moving.imaginary[i];
    const c = fixed.real[i];
    const d = fixed.imaginary[i];
    product.real[i] = a * c + b * d;
    product.imaginary[i] = b * c - a * d;
  }
  transform(product, true);
  let best = 0;
  for (let i = 1; i < product.real.length; i++) if (product.real[i] > product.real[best]) best = i;
  const wrap = (value: number): number => (value > side / 2 ? value - side : value);
  const x = best % side;
  return { dx: wrap(x), dy: wrap((best - x) / side), peak: product.real[best] / (side * side) };
}
