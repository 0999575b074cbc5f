/** The frame around every page: heading, navigation, language and colours, and the standing notice. */

import { useEffect, useRef } from "preact/hooks";
import { language, languageName, LANGUAGES, t } from "../i18n";
import { install, installOffer } from "../state/install";
import { tellError } from "../state/notices";
import { chooseLanguage, chooseTheme, noticeRead, readNotice, theme, type Theme } from "../state/preferences";
import { type Route, route, routeHash } from "../state/route";
import { Check } from "./Check";
import { Dialog } from "./Dialog";
import { Icon, type IconName } from "./icons";
import { later } from "./later";
import { Notices } from "./Notices";
import { PatientPage, Patients, Report, SheetPage, SheetReport } from "./record/lazy";
import { UpdatePrompt } from "./UpdatePrompt";

const CasePage = later(async () => (await import("./CasePage")).CasePage);
const Models = later(async () => (await import("./Models")).Models);
const Notebook = later(async () => (await import("./Notebook")).Notebook);

const PAGES = [
  { page: "check", icon: "check", label: "navCheck" },
  { page: "notebook", icon: "notebook", label: "navNotebook" },
  { page: "patients", icon: "patients", label: "navPatients" },
  { page: "models", icon: "models", label: "navModels" },
] as const;

/** Which entry of the navigation a page belongs to. */
const NAVIGATED: Record<Route["page"], (typeof PAGES)[number]["page"]> = {
  check: "check",
  notebook: "notebook",
  case: "notebook",
  report: "notebook",
  patients: "patients",
  patient: "patients",
  sheet: "patients",
  "sheet-report": "patients",
  models: "models",
};

const THEMES: Record<Theme, { next: Theme; icon: IconName; label: "themeAuto" | "themeLight" | "themeDark" }> = {
  auto: { next: "light", icon: "auto", label: "themeAuto" },
  light: { next: "dark", icon: "sun", label: "themeLight" },
  dark: { next: "auto", icon: "moon", label: "themeDark" },
};

function Navigation() {
  const current = NAVIGATED[route.value.page];
  return (
    <nav class="nav" aria-label={t("navLabel")}>
      {PAGES.map(({ page, icon, label }) => (
        <a key={page} href={routeHash({ page })} aria-current={current === page ? "page" : undefined}>
          <Icon name={icon} />
          <span>{t(label)}</span>
        </a>
      ))}
    </nav>
  );
}

function Head() {
  const colours = THEMES[theme.value];
  return (
    <header class="head">
      <a class="brand" href={routeHash({ page: "check" })}>
        <svg viewBox="0 0 32 32" aria-hidden="true" focusable="false">
          <circle cx="16" cy="16" r="14" class="brand-lens" />
          <path d="M10 15c0-4 3-6.5 7-6 4 .6 6 3.3 5.5 7-.5 4-3.5 7-7 6.6C12 22.2 10 19 10 15Z" class="brand-spot" />
        </svg>
        <span>lentigo</span>
      </a>
      <Navigation />
      <div class="head-tools">
        <select
          class="language"
          aria-label={t("language")}
          value={language.value}
          onChange={(event) =>
            void chooseLanguage(event.currentTarget.value).catch((error: unknown) => tellError(error))
          }
          data-testid="language"
        >
          {LANGUAGES.map((code) => (
            <option key={code} value={code} lang={code}>
              {languageName(code)}
            </option>
          ))}
        </select>
        <button
          type="button"
          class="icon-button"
          aria-label={t(colours.label)}
          title={t(colours.label)}
          onClick={() => chooseTheme(colours.next)}
          data-testid="theme"
        >
          <Icon name={colours.icon} />
        </button>
      </div>
    </header>
  );
}

function FirstNotice() {
  return (
    <Dialog title={t("noticeTitle")} class="dialog-narrow">
      <ul class="notice-list">
        <li>{t("noticeResearch")}</li>
        <li>{t("noticeDoctor")}</li>
        <li>{t("noticePrivate")}</li>
      </ul>
      <div class="actions">
        <button type="button" class="button button-primary" onClick={readNotice} data-testid="accept-notice">
          {t("noticeAccept")}
        </button>
      </div>
    </Dialog>
  );
}

function Page({ at }: { at: Route }) {
  switch (at.page) {
    case "check":
      return <Check />;
    case "notebook":
      return <Notebook />;
    case "case":
      return <CasePage key={at.id} id={at.id} />;
    case "report":
      return <Report key={at.id} id={at.id} />;
    case "patients":
      return <Patients />;
    case "patient":
      return <PatientPage key={at.id} id={at.id} />;
    case "sheet":
      return <SheetPage key={at.id} id={at.id} />;
    case "sheet-report":
      return <SheetReport key={at.id} id={at.id} />;
    case "models":
      return <Models />;
  }
}

/** The page's title follows the route, and the focus goes to what is new. */
function useRoute(): void {
  const { page } = route.value;
  const place = routeHash(route.value);
  const first = useRef(true);
  useEffect(() => {
    const { label } = PAGES.find((entry) => entry.page === NAVIGATED[page])!;
    document.title = `${t(label)} – lentigo`;
  });
  useEffect(() => {
    if (first.current) first.current = false;
    else document.getElementById("main")?.focus({ preventScroll: true });
  }, [place]);
}

export function App() {
  useRoute();
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById("main")?.focus();
        }}
      >
        {t("skip")}
      </a>
      <Head />
      <main id="main" tabIndex={-1}>
        <Page at={route.value} />
      </main>
      <footer class="foot">
        <p>{t("noticeShort")}</p>
        {installOffer.value && (
          <button type="button" class="button button-quiet" onClick={() => void install()}>
            <Icon name="import" />
            {t("install")}
          </button>
        )}
      </footer>
      <Notices />
      <UpdatePrompt />
      {!noticeRead.value && <FirstNotice />}
    </>
  );
}
