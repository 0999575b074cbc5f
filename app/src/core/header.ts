/**
 * What a file says of itself before anything is decoded: its format, its size in pixels and its EXIF orientation.
 *
 * The content decides, never the file name. Only the few kilobytes that hold the answer are read, so that a
 * picture of hundreds of megapixels costs nothing to refuse.
 */

import { AppError } from "./errors";

/** Images of this many pixels (width x height) and more are not decoded. */
export const MAX_PIXELS = 100_000_000;
const MAX_SIDE = 32_767; // of a canvas

export type ImageFormat = "jpeg" | "png" | "webp" | "gif" | "bmp" | "avif" | "heic" | "tiff";

export interface ImageHeader {
  format: ImageFormat;
  /** Stored width and height, before the orientation is applied; 0 where the header does not say. */
  width: number;
  height: number;
  /** EXIF orientation, 1 to 8. */
  orientation: number;
  /** Where the file holds the orientation (a little- or big-endian 16-bit number), if it does. */
  orientationAt: { offset: number; littleEndian: boolean } | null;
}

/** Read-only view of part of a file, addressed from the file's beginning. */
class Window {
  private constructor(
    private readonly view: DataView,
    private readonly start: number,
  ) {}

  static async of(blob: Blob, start: number, length: number): Promise<Window> {
    return new Window(new DataView(await blob.slice(start, start + length).arrayBuffer()), start);
  }

  /** This part where it holds what is asked for, or else that from the file: every read of a file takes a millisecond. */
  async or(blob: Blob, start: number, length: number): Promise<Window> {
    return this.has(start, length) ? this : Window.of(blob, start, length);
  }

  get end(): number {
    return this.start + this.view.byteLength;
  }
  has(offset: number, length: number): boolean {
    return offset >= this.start && offset + length <= this.end;
  }
  u8(offset: number): number {
    return this.view.getUint8(offset - this.start);
  }
  u16(offset: number, little = false): number {
    return this.view.getUint16(offset - this.start, little);
  }
  u24(offset: number): number {
    return this.u8(offset) | (this.u8(offset + 1) << 8) | (this.u8(offset + 2) << 16); // little-endian
  }
  u32(offset: number, little = false): number {
    return this.view.getUint32(offset - this.start, little);
  }
  text(offset: number, length: number): string {
    let text = "";
    for (let i = 0; i < length && this.has(offset + i, 1); i++) text += String.fromCharCode(this.u8(offset + i));
    return text;
  }
}

const HEIF_BRANDS = ["heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1"];

/**
 * Read the header of an image file.
 *
 * @throws AppError: empty, no image, a format that browsers do not show, too many pixels, or a damaged header
 */
export async function readHeader(blob: Blob): Promise<ImageHeader> {
  if (blob.size === 0) throw new AppError("imageEmpty");
  let header: ImageHeader;
  try {
    header = await parse(blob, await Window.of(blob, 0, 65536));
  } catch (error) {
    if (error instanceof RangeError) throw new AppError("imageDamaged"); // read past the end
    throw error;
  }
  if (header.width * header.height >= MAX_PIXELS || Math.max(header.width, header.height) > MAX_SIDE) {
    throw new AppError("imageTooLarge", {
      width: header.width,
      height: header.height,
      megapixels: Math.round((header.width * header.height) / 1e6),
      limit: MAX_PIXELS / 1e6,
    });
  }
  return header;
}

async function parse(blob: Blob, head: Window): Promise<ImageHeader> {
  const plain = (format: ImageFormat, width: number, height: number): ImageHeader => ({
    format,
    width,
    height,
    orientation: 1,
    orientationAt: null,
  });
  if (head.text(0, 3) === "\xff\xd8\xff") return jpeg(blob, head);
  if (head.text(0, 8) === "\x89PNG\r\n\x1a\n") return png(blob, head);
  if (head.text(0, 4) === "RIFF" && head.text(8, 4) === "WEBP") return webp(blob, head);
  if (/^GIF8[79]a/.test(head.text(0, 6))) return plain("gif", head.u16(6, true), head.u16(8, true));
  if (head.text(0, 2) === "BM") return plain("bmp", head.u32(18, true), Math.abs(head.u32(22, true) | 0));
  if (/^(II\*\0|MM\0\*|II\+\0|MM\0\+)/.test(head.text(0, 4))) throw new AppError("imageTiff");
  if (head.text(4, 4) === "ftyp") {
    const brands: string[] = [];
    for (let at = 8; at < Math.min(head.u32(0), 256); at += 4) brands.push(head.text(at, 4));
    const [width, height] = largestItem(head);
    if (brands.includes("avif") || brands.includes("avis")) return plain("avif", width, height);
    if (brands.some((brand) => HEIF_BRANDS.includes(brand))) return plain("heic", width, height);
    throw new AppError("imageVideo");
  }
  if (head.text(0, 4) === "%PDF") throw new AppError("imagePdf");
  throw new AppError("imageUnknown");
}

/** The segments of a JPEG up to the frame header; those behind the head are fetched alone: profiles and previews can be long. */
async function jpeg(blob: Blob, head: Window): Promise<ImageHeader> {
  let found: Pick<ImageHeader, "orientation" | "orientationAt"> = { orientation: 1, orientationAt: null };
  let at = 2;
  for (;;) {
    const lead = await head.or(blob, at, 20);
    if (lead.u8(at) !== 0xff) throw new AppError("imageDamaged");
    const marker = lead.u8(at + 1);
    if (marker === 0xff) {
      at += 1; // fill byte
      continue;
    }
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += 2; // no length
      continue;
    }
    if (marker === 0xda || marker === 0xd9) throw new AppError("imageDamaged"); // data before a frame header
    const length = lead.u16(at + 2);
    if (marker === 0xe1 && lead.text(at + 4, 6) === "Exif\0\0" && found.orientationAt === null) {
      found = exifOrientation(await head.or(blob, at + 10, length - 8), at + 10, length - 8);
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame) return { format: "jpeg", width: lead.u16(at + 7), height: lead.u16(at + 5), ...found };
    at += 2 + length;
  }
}

async function png(blob: Blob, head: Window): Promise<ImageHeader> {
  const size = { format: "png" as const, width: head.u32(16), height: head.u32(20) };
  for (let at = 8; at + 8 <= blob.size;) {
    const lead = await head.or(blob, at, 8);
    const length = lead.u32(at);
    if (lead.text(at + 4, 4) === "eXIf") {
      return { ...size, ...exifOrientation(await head.or(blob, at + 8, length), at + 8, length) };
    }
    if (lead.text(at + 4, 4) === "IDAT") break; // Pillow also reads the tag behind the data; nothing writes it there
    at += 12 + length;
  }
  return { ...size, orientation: 1, orientationAt: null };
}

async function webp(blob: Blob, head: Window): Promise<ImageHeader> {
  const upright = { format: "webp" as const, orientation: 1, orientationAt: null };
  const kind = head.text(12, 4);
  if (kind === "VP8 ") return { ...upright, width: head.u16(26, true) & 0x3fff, height: head.u16(28, true) & 0x3fff };
  if (kind === "VP8L") {
    const bits = head.u32(21, true);
    return { ...upright, width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  if (kind !== "VP8X") throw new AppError("imageDamaged");
  const size = { format: "webp" as const, width: head.u24(24) + 1, height: head.u24(27) + 1 };
  for (let at = 12; at + 8 <= blob.size;) {
    const lead = await head.or(blob, at, 14);
    const length = lead.u32(at + 4, true);
    if (lead.text(at, 4) === "EXIF") {
      const skip = lead.text(at + 8, 6) === "Exif\0\0" ? 6 : 0; // some writers keep JPEG's prefix
      const start = at + 8 + skip;
      return { ...size, ...exifOrientation(await head.or(blob, start, length - skip), start, length - skip) };
    }
    at += 8 + length + (length & 1);
  }
  return { ...size, orientation: 1, orientationAt: null };
}

/** The orientation in a TIFF block; a damaged block means upright. */
function exifOrientation(
  block: Window,
  start: number,
  length: number,
): Pick<ImageHeader, "orientation" | "orientationAt"> {
  const upright = { orientation: 1, orientationAt: null };
  if (!block.has(start, 8)) return upright;
  const order = block.text(start, 2);
  if (order !== "II" && order !== "MM") return upright;
  const littleEndian = order === "II";
  const directory = start + block.u32(start + 4, littleEndian);
  if (directory + 2 > start + length || !block.has(directory, 2)) return upright;
  const entries = block.u16(directory, littleEndian);
  for (let i = 0; i < entries; i++) {
    const entry = directory + 2 + 12 * i;
    if (!block.has(entry, 12)) return upright;
    if (block.u16(entry, littleEndian) === 0x0112) {
      const value = block.u16(entry + 8, littleEndian);
      if (value < 1 || value > 8) return upright;
      return { orientation: value, orientationAt: { offset: entry + 8, littleEndian } };
    }
  }
  return upright;
}

/** The largest `ispe` (item size) of an AVIF or HEIC file: thumbnails and tiles are smaller than the picture. */
function largestItem(head: Window): [number, number] {
  let best: [number, number] = [0, 0];
  for (let at = 4; head.has(at, 16); at++) {
    if (head.u8(at) !== 0x69 || head.text(at, 4) !== "ispe") continue;
    const [width, height] = [head.u32(at + 8), head.u32(at + 12)];
    if (width * height > best[0] * best[1]) best = [width, height];
  }
  return best;
}

/**
 * The same file with its EXIF orientation set to "upright".
 *
 * Browsers differ in which formats they turn by themselves, so that none is left to turn anything: the app
 * applies the orientation. (In a PNG the chunk's checksum is then wrong, and decoders pass over the chunk.)
 */
export function withoutOrientation(blob: Blob, header: ImageHeader): Blob {
  if (header.orientationAt === null || header.orientation === 1) return blob;
  const { offset, littleEndian } = header.orientationAt;
  const one = new Uint8Array(littleEndian ? [1, 0] : [0, 1]);
  return new Blob([blob.slice(0, offset), one, blob.slice(offset + 2)], { type: blob.type });
}
