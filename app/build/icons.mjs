/** Draw the app's icon as PNG, for launchers that take no SVG. */

import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { initWasm, Resvg } from "@resvg/resvg-wasm";

/** Full bleed, and the drawing within the circle that every launcher keeps. */
function maskable(svg) {
  return svg
    .replace(
      /<rect[^>]*\/>/,
      '<rect width="512" height="512" fill="#0d5f57"/><g transform="translate(51 51) scale(.8)">',
    )
    .replace("</svg>", "</g></svg>");
}

export async function drawIcons(source, out) {
  const require = createRequire(import.meta.url);
  await initWasm(await readFile(require.resolve("@resvg/resvg-wasm/index_bg.wasm")));
  const svg = await readFile(source, "utf8");
  const draw = async (name, text, side) => {
    const png = new Resvg(text, { fitTo: { mode: "width", value: side } }).render().asPng();
    await writeFile(path.join(out, name), png);
  };
  await draw("icon-192.png", svg, 192);
  await draw("icon-512.png", svg, 512);
  await draw("icon-maskable-512.png", maskable(svg), 512);
  await draw("apple-touch-icon.png", maskable(svg), 180); // iOS cuts the corners itself, and fills what is clear with black
}
