/** One chunk of the build: see lazy.tsx. */

import "../../styles/record.css";

export { LayOver } from "./LayOver";
export { LesionRecord } from "./LesionRecord";
export { PatientPage } from "./PatientPage";
export { PlainVisit } from "./PlainVisit";
export { Patients } from "./Patients";
export { Report } from "./Report";
export { SheetPage } from "./SheetPage";
export { SheetReport } from "./SheetReport";
