/** Sizes and shape of an outline, each with its error or what it means. */

import { t } from "../../i18n";
import { areaMm2, diameterMm, figures, SHAPE_ERRORS } from "../../measure/figures";
import type { Measure } from "../../patients/types";
import { MM2, number, withError } from "./numbers";

export function MeasureFigures({ measure, longerSide }: { measure: Measure; longerSide: number }) {
  const { shapes, scale } = measure;
  if (shapes.length === 0) return <p class="small">{t("outlineNone")}</p>;
  const shape = figures(shapes[0]);
  return (
    <dl class="figures" data-testid="figures">
      {scale !== null && (
        <>
          <dt>{t(shapes.length > 1 ? "areaTogether" : "area")}</dt>
          <dd data-testid="area">{withError(areaMm2(shapes, scale, longerSide), MM2)}</dd>
          <dt>{t("diameter")}</dt>
          <dd data-testid="diameter">{withError(diameterMm(shapes[0], scale, longerSide), "mm")}</dd>
        </>
      )}
      {shapes.length > 1 && (
        <>
          <dt>{t("patches")}</dt>
          <dd data-testid="patch-count">
            {scale === null
              ? shapes.length
              : shapes.map((one) => withError(areaMm2([one], scale, longerSide), MM2)).join(t("listComma"))}
          </dd>
        </>
      )}
      <dt>{t("asymmetry")}</dt>
      <dd>{number(shape.asymmetry)}</dd>
      <dt>{t("border")}</dt>
      <dd>{number(shape.border)}</dd>
      <dd class="small figures-note">
        {t(scale === null ? "scaleNone" : "figuresError")}{" "}
        {t("shapeErrors", { asymmetry: SHAPE_ERRORS.asymmetry, border: 100 * SHAPE_ERRORS.border })}{" "}
        {t(measure.proposed ? "outlineProposed" : "outlineByHand")}
      </dd>
    </dl>
  );
}
