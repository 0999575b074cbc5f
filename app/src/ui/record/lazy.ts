/** The record's pages and parts: one chunk, fetched when the first of them is shown. */

import { later } from "../later";

const pages = () => import("./pages");

export const Patients = later(async () => (await pages()).Patients);
export const PatientPage = later(async () => (await pages()).PatientPage);
export const PlainVisit = later(async () => (await pages()).PlainVisit);
export const SheetPage = later(async () => (await pages()).SheetPage);
export const SheetReport = later(async () => (await pages()).SheetReport);
export const Report = later(async () => (await pages()).Report);
export const LesionRecord = later(async () => (await pages()).LesionRecord);
export const LayOver = later(async () => (await pages()).LayOver);
