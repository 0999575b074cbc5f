/** A small square copy of a picture. */

import { useLayoutEffect, useRef } from "preact/hooks";
import { centreSquare } from "../core/geometry";

const SIDE = 128;

export function Thumbnail({ picture }: { picture: ImageBitmap }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const { x, y, width, height } = centreSquare(picture);
    canvas.current!.getContext("2d")!.drawImage(picture, x, y, width, height, 0, 0, SIDE, SIDE);
  }, [picture]);
  return <canvas ref={canvas} class="thumbnail" width={SIDE} height={SIDE} aria-hidden="true" />;
}
