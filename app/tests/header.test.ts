import { describe, expect, test } from "vitest";
import { MAX_PIXELS, readHeader, withoutOrientation } from "../src/core/header";
import { photo } from "./fixtures";

describe("size and orientation", () => {
  test.each([2, 3, 4, 5, 6, 7, 8])("EXIF orientation %i of a PNG", async (orientation) => {
    const header = await readHeader(photo(`orientation-${orientation}.png`));
    const stored = orientation >= 5 ? { width: 60, height: 100 } : { width: 100, height: 60 };
    expect(header).toMatchObject({ format: "png", orientation, ...stored });
  });

  test.each(["orientation-6.jpg", "orientation-6.webp"])("%s", async (name) => {
    expect(await readHeader(photo(name))).toMatchObject({ orientation: 6, width: 60, height: 100 });
  });

  test.each(["orientation-6.png", "orientation-6.jpg", "orientation-6.webp"])("%s set upright", async (name) => {
    const file = photo(name);
    const upright = withoutOrientation(file, await readHeader(file));
    expect(upright.size).toBe(file.size);
    expect(await readHeader(upright)).toMatchObject({ orientation: 1, width: 60, height: 100 });
  });

  test("a JPEG without EXIF", async () => {
    expect(await readHeader(photo("mel.jpg"))).toMatchObject({
      format: "jpeg",
      width: 400,
      height: 300,
      orientation: 1,
    });
  });

  test("a bitmap, a GIF, and the forms of WebP", async () => {
    const bytes = (...values: (number | string)[]) =>
      new Blob([
        new Uint8Array(values.flatMap((v) => (typeof v === "string" ? [...v].map((c) => c.charCodeAt(0)) : [v]))),
      ]);
    const zeros = Array<number>(40).fill(0);
    const bmp = ["BM", ...Array<number>(16).fill(0), 7, 0, 0, 0, 0xf7, 0xff, 0xff, 0xff, ...zeros]; // height -9: top-down
    expect(await readHeader(bytes(...bmp))).toMatchObject({ format: "bmp", width: 7, height: 9 });
    expect(await readHeader(bytes("GIF89a", 5, 1, 2, 0, ...zeros))).toMatchObject({
      format: "gif",
      width: 261,
      height: 2,
    });
    const lossy = ["RIFF", 0, 0, 0, 0, "WEBPVP8 ", ...Array<number>(10).fill(0), 0x58, 2, 0xc2, 1, ...zeros];
    expect(await readHeader(bytes(...lossy))).toMatchObject({ format: "webp", width: 600, height: 450 });
  });
});

describe("what is refused, and with which sentence", () => {
  test.each([
    ["text.jpg", "imageUnknown"],
    ["empty.jpg", "imageEmpty"],
    ["truncated.jpg", "imageDamaged"],
    ["huge.png", "imageTooLarge"],
  ])("%s: %s", async (name, key) => {
    await expect(readHeader(photo(name))).rejects.toMatchObject({ key });
  });

  test("HEIC is recognised, and its size found", async () => {
    expect(await readHeader(photo("photo.heic"))).toMatchObject({ format: "heic", width: 4032, height: 3024 });
  });

  test.each([
    ["%PDF-1.7", "imagePdf"],
    ["II*\0aaaaaaaa", "imageTiff"],
    ["\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "imageVideo"],
    ["<svg xmlns='http://www.w3.org/2000/svg'/>", "imageUnknown"],
  ])("%j: %s", async (content, key) => {
    const bytes = Uint8Array.from(content.padEnd(64, "\0"), (c) => c.charCodeAt(0));
    await expect(readHeader(new Blob([bytes]))).rejects.toMatchObject({ key });
  });

  test("one pixel below the limit passes", async () => {
    const png = new DataView(new ArrayBuffer(64));
    [0x89504e47, 0x0d0a1a0a, 13, 0x49484452, 10_000, MAX_PIXELS / 10_000 - 1].forEach((v, i) =>
      png.setUint32(4 * i, v),
    );
    expect(await readHeader(new Blob([png]))).toMatchObject({ width: 10_000, height: 9_999 });
  });
});
