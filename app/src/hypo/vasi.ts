/**
 * The Vitiligo Area Scoring Index, with its steps.
 *
 * Hamzavi I, Jain H, McLean D, Shapiro J, Zeng H, Lui H. Parametric modeling of narrowband UV-B phototherapy for vitiligo
 * using a novel quantitative tool: the Vitiligo Area Scoring Index. Arch Dermatol 2004;140(6):677-683:
 * VASI = sum over the regions of (hand units) x (residual depigmentation). A hand unit, palm and volar fingers, is taken as
 * 1 % of the body's surface. Axillae count with the upper, buttocks and groin with the lower extremities; face and neck are
 * scored apart and are not in the sum.
 */

export const VASI_REGIONS = ["hands", "upperExtremities", "trunk", "lowerExtremities", "feet"] as const;
export const SCORED_REGIONS = [...VASI_REGIONS, "faceNeck"] as const;
export type ScoredRegion = (typeof SCORED_REGIONS)[number];

/** The steps of residual depigmentation, per cent. */
export const DEPIGMENTATION = [0, 10, 25, 50, 75, 90, 100] as const;
export type Depigmentation = (typeof DEPIGMENTATION)[number];

/**
 * A hand's surface over that of the body in adults, per cent: 13 % below the 1 % that a hand unit stands for, more in men
 * than in women, and more in children (Rhodes J, Clay C, Phillips M. Br J Dermatol 2013;169(1):76-84, 14 studies).
 */
export const HAND_OF_ADULT = 0.87;

export interface RegionScore {
  region: ScoredRegion;
  handUnits: number;
  depigmentation: Depigmentation;
}

export interface Step extends RegionScore {
  /** Hand units times depigmentation. */
  product: number;
  /** The product at the borders of the step of depigmentation: half way to the next lower and the next higher one. */
  low: number;
  high: number;
}

export interface Vasi {
  steps: Step[];
  /** 0 to 100; face and neck apart. */
  total: number;
  low: number;
  high: number;
  faceNeck: number;
  /** The total if a hand is what it is on average in adults. */
  adultHand: number;
}

function borders(depigmentation: Depigmentation): [number, number] {
  const i = DEPIGMENTATION.indexOf(depigmentation);
  const below = DEPIGMENTATION[i - 1] ?? depigmentation;
  const above = DEPIGMENTATION[i + 1] ?? depigmentation;
  return [(below + depigmentation) / 2, (depigmentation + above) / 2];
}

/** Whether scores are of different regions, with no more hand units together than a body has. */
export function isScored(scores: readonly { region: string; handUnits: number }[]): boolean {
  const sum = scores.reduce((total, { handUnits }) => total + handUnits, 0);
  return sum <= 100 && new Set(scores.map(({ region }) => region)).size === scores.length;
}

/** Whether there is a total: face and neck alone give none. */
export function hasTotal(scores: readonly RegionScore[]): boolean {
  return scores.some(({ region }) => region !== "faceNeck");
}

/** @throws RangeError: hand units outside 0 to 100, or together more than the body has; a region scored twice */
export function vasi(scores: readonly RegionScore[]): Vasi {
  const steps = scores.map((score): Step => {
    if (!(score.handUnits >= 0 && score.handUnits <= 100)) throw new RangeError("hand units must be 0 to 100");
    const [low, high] = borders(score.depigmentation);
    return {
      ...score,
      product: (score.handUnits * score.depigmentation) / 100,
      low: (score.handUnits * low) / 100,
      high: (score.handUnits * high) / 100,
    };
  });
  if (!isScored(scores)) throw new RangeError("hand units must not exceed 100 together, nor a region be scored twice");
  const sum = (key: "product" | "low" | "high", face: boolean): number =>
    steps.reduce((total, step) => total + ((step.region === "faceNeck") === face ? step[key] : 0), 0);
  const total = sum("product", false);
  return {
    steps,
    total,
    low: sum("low", false),
    high: sum("high", false),
    faceNeck: sum("product", true),
    adultHand: total * HAND_OF_ADULT,
  };
}

/** The scores with one region's changed, or taken out; as they were where they would not be those of one body. */
export function withScore(
  scores: readonly RegionScore[],
  region: ScoredRegion,
  changed: Partial<RegionScore> | null,
): RegionScore[] {
  const known = new Map(scores.map((one) => [one.region, one]));
  const { handUnits = 0, depigmentation = 100 } = known.get(region) ?? {};
  if (changed === null) known.delete(region);
  else known.set(region, { region, handUnits, depigmentation, ...changed });
  const next = SCORED_REGIONS.flatMap((one) => known.get(one) ?? []);
  return isScored(next) ? next : [...scores];
}
