/** A figure over dates, with its error, as a drawing and as a table for those who cannot see it. */

import { dayText, t } from "../../i18n";
import type { Measured } from "../../measure/figures";
import { number } from "./numbers";

export interface CurvePoint extends Measured {
  /** YYYY-MM-DD */
  day: string;
}

const BOX = { width: 320, height: 150, left: 40, right: 12, top: 12, bottom: 24 };

/** A round number of which one to two fit into the value. */
function roundStep(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  const head = value / power;
  return power * (head >= 5 ? 5 : head >= 2 ? 2 : 1);
}

export function Curve({
  points,
  label,
  unit,
  id,
}: {
  points: readonly CurvePoint[];
  label: string;
  unit: string;
  id: string;
}) {
  if (points.length < 2) return null;
  const times = points.map(({ day }) => Date.parse(day));
  const [start, end] = [Math.min(...times), Math.max(...times)];
  const most = Math.max(...points.map(({ value, error }) => value + error)) * 1.05 || 1;
  const x = (time: number): number =>
    BOX.left + (BOX.width - BOX.left - BOX.right) * (end > start ? (time - start) / (end - start) : 0.5);
  const y = (value: number): number => BOX.height - BOX.bottom - ((BOX.height - BOX.top - BOX.bottom) * value) / most;
  const step = roundStep(most / 2);
  const ticks = Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
  const text = (value: number): string => number(Number(value.toPrecision(3)), 6);
  return (
    <figure class="curve" data-testid={id}>
      <figcaption>{`${label}${unit && ` (${unit})`}`}</figcaption>
      <svg viewBox={`0 0 ${BOX.width} ${BOX.height}`} aria-hidden="true">
        {ticks.map((tick) => (
          <g key={tick}>
            <line x1={BOX.left} x2={BOX.width - BOX.right} y1={y(tick)} y2={y(tick)} class="curve-grid" />
            <text x={BOX.left - 6} y={y(tick) + 4} text-anchor="end">
              {text(tick)}
            </text>
          </g>
        ))}
        <polyline class="curve-line" points={points.map(({ value }, i) => `${x(times[i])},${y(value)}`).join(" ")} />
        {points.map(({ value, error }, i) => (
          <g key={i}>
            <line
              class="curve-error"
              x1={x(times[i])}
              x2={x(times[i])}
              y1={y(value + error)}
              y2={y(Math.max(0, value - error))}
            />
            <circle class="curve-point" cx={x(times[i])} cy={y(value)} r="3.5" />
          </g>
        ))}
        <text x={BOX.left} y={BOX.height - 6}>
          {dayText(points[0].day)}
        </text>
        <text x={BOX.width - BOX.right} y={BOX.height - 6} text-anchor="end">
          {dayText(points[points.length - 1].day)}
        </text>
      </svg>
      <table class="visually-hidden">
        <caption>{label}</caption>
        <thead>
          <tr>
            <th>{t("date")}</th>
            <th>{unit || label}</th>
          </tr>
        </thead>
        <tbody>
          {points.map(({ day, value, error }, i) => (
            <tr key={i}>
              <td>{dayText(day)}</td>
              <td>{`${text(value)} ± ${text(error)}`}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}
