/** The record's pages, fetched when they are first opened: a check does not wait for them. */

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { tellError } from "../../state/notices";

function lazy<Props extends object>(load: () => Promise<ComponentType<Props>>): ComponentType<Props> {
  let loaded: ComponentType<Props> | null = null;
  return (props) => {
    const [Shown, show] = useState<ComponentType<Props> | null>(() => loaded);
    useEffect(() => {
      if (Shown !== null) return;
      load().then((component) => {
        loaded = component;
        show(() => component);
      }, tellError);
    }, []);
    return Shown === null ? <span class="spinner" role="status" /> : <Shown {...props} />;
  };
}

const pages = () => import("./pages");

export const Patients = lazy(async () => (await pages()).Patients);
export const PatientPage = lazy(async () => (await pages()).PatientPage);
export const SheetPage = lazy(async () => (await pages()).SheetPage);
export const Report = lazy(async () => (await pages()).Report);
export const LesionRecord = lazy(async () => (await pages()).LesionRecord);
export const LayOver = lazy(async () => (await pages()).LayOver);
