/** One visit as it is kept: photographs with heat map, the answer, the model that gave it. */

import { useEffect, useState } from "preact/hooks";
import { argmax } from "../core/probabilities";
import { isAnswer } from "../core/verdict";
import { dayText, t } from "../i18n";
import type { Visit, VisitPhoto } from "../notebook/types";
import { visitVerdict } from "../notebook/verdict";
import { Bars } from "./Bars";
import { BlobImage } from "./BlobImage";
import { CAPTURE_NAMES } from "./Capture";
import { Chips } from "./Chips";
import { Knows } from "./Results";
import { VerdictBanner, visitFacts, visitSet } from "./Verdict";
import { tellError } from "../state/notices";
import { Viewer } from "./Viewer";
import { Zoom } from "./Zoom";

/** A kept photograph with the heat map of a class; a plain image on paper. */
export function KeptPhoto({
  photo,
  classIndex,
  heat,
  label,
}: {
  photo: VisitPhoto;
  classIndex: number;
  heat: number;
  label: string;
}) {
  const [decoded, setDecoded] = useState<{ photo: VisitPhoto; picture: ImageBitmap } | null>(null);
  const [opened, setOpened] = useState(false);
  useEffect(() => {
    let bitmap: ImageBitmap | null = null;
    let current = true;
    void createImageBitmap(photo.image).then(
      (picture) => {
        if (!current) return picture.close();
        bitmap = picture;
        setDecoded({ photo, picture });
      },
      () => {}, // shown as a broken image below
    );
    return () => {
      current = false;
      bitmap?.close();
    };
  }, [photo]);
  // The picture of a photograph that is no longer shown is closed.
  const picture = decoded?.photo === photo ? decoded.picture : null;
  if (picture === null)
    return <BlobImage blob={photo.image} alt={label} width={photo.width} height={photo.height} class="kept" />;
  return (
    <>
      <Viewer
        picture={picture}
        size={photo}
        cam={photo.cam}
        classIndex={classIndex}
        opacity={heat}
        label={label}
        onOpen={() => setOpened(true)}
      />
      {opened && (
        <Zoom
          load={() => createImageBitmap(photo.image)}
          label={label}
          onClose={() => setOpened(false)}
          onError={tellError}
        />
      )}
    </>
  );
}

/** Which model answered. */
export function AnsweredBy({ visit: { model } }: { visit: Visit }) {
  return (
    <p class="small" data-testid="answered-by">
      {model === null
        ? t("noAnswer")
        : t("answeredBy", { title: model.title, version: model.version, digest: model.digest.slice(0, 8) })}
    </p>
  );
}

/** What is odd about several photographs, beside their verdict. */
export function Together({ visit: { photos, differ, abstained } }: { visit: Visit }) {
  const left = photos.filter(({ reasons }) => reasons.length > 0).length;
  return (
    <>
      {differ && (
        <p class="problem" data-testid="differ">
          {t("photosDiffer")}
        </p>
      )}
      {left > 0 && !abstained && (
        <p class="small" data-testid="averaged">
          {t("meanWithout", { count: photos.length - left, left })}
        </p>
      )}
    </>
  );
}

interface Props {
  visit: Visit;
  heat: number;
}

export function VisitView({ visit, heat }: Props) {
  const top = argmax(visit.probabilities);
  const verdict = visitVerdict(visit);
  const muted = verdict !== null && !isAnswer(verdict);
  const set = visitSet(visit);
  return (
    <article class="visit" data-testid="visit">
      <header class="visit-head">
        <h3>{dayText(visit.date)}</h3>
      </header>
      {verdict && <VerdictBanner verdict={verdict} facts={visitFacts(visit)} />}
      <Together visit={visit} />
      <div class="visit-photos">
        {visit.photos.map((photo, i) => (
          <KeptPhoto key={i} photo={photo} classIndex={top} heat={heat} label={t("photograph", { number: i + 1 })} />
        ))}
      </div>
      {set && !muted && <Chips {...set} />}
      {muted && <p class="small">{t("notAnAnswer")}</p>}
      <Bars classes={visit.classes} probabilities={visit.probabilities} muted={muted} />
      <div class="visit-words">
        {visit.note && <p class="visit-note">{visit.note}</p>}
        {visit.taken !== undefined && <p class="small">{`${t("taken")} ${t(CAPTURE_NAMES[visit.taken])}`}</p>}
        <Knows classes={visit.classes} />
        <AnsweredBy visit={visit} />
        <p class="small">{t("noticeShort")}</p>
      </div>
    </article>
  );
}
