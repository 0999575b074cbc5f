/** A kept photograph with the outlines drawn on it. */

import type { Point } from "../../measure/raster";
import { BlobImage } from "../BlobImage";

interface Props {
  photo: {
    image: Blob;
    width: number;
    height: number;
    measure?: { shapes: readonly (readonly Point[])[] };
    region?: readonly Point[] | null;
  };
  alt: string;
}

const pointsOf = (shape: readonly Point[]): string => shape.map(({ x, y }) => `${x},${y}`).join(" ");

export function Outlined({ photo: { image, width, height, measure, region }, alt }: Props) {
  return (
    <div class="slot-image">
      <BlobImage blob={image} alt={alt} width={width} height={height} class="kept" />
      <svg viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
        {region && <polygon class="outline-region" points={pointsOf(region)} />}
        {measure?.shapes.map((shape, i) => (
          <polygon key={i} class="outline-line" points={pointsOf(shape)} />
        ))}
      </svg>
    </div>
  );
}
