/** Where in the app the person is, kept in the address's fragment so that "back" works and no server is asked. */

import { signal } from "@preact/signals";

export type Route =
  | { page: "check" }
  | { page: "notebook" }
  | { page: "case"; id: string }
  | { page: "models" }
  | { page: "patients" }
  | { page: "patient"; id: string }
  | { page: "sheet"; id: string }
  | { page: "report"; id: string }
  | { page: "sheet-report"; id: string };

/** An identity as it stands in an address, which a person may have typed. */
function decoded(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch {
    return id; // no such record: its page says so
  }
}

export function parseRoute(hash: string): Route {
  const [page, part] = hash.replace(/^#\/?/, "").split("/");
  const id = part && decoded(part);
  if (page === "notebook") return id ? { page: "case", id } : { page: "notebook" };
  if (page === "models") return { page: "models" };
  if (page === "patients") return id ? { page: "patient", id } : { page: "patients" };
  if ((page === "sheet" || page === "report" || page === "sheet-report") && id) return { page, id };
  return { page: "check" };
}

export function routeHash(route: Route): string {
  if (route.page === "case") return `#/notebook/${encodeURIComponent(route.id)}`;
  if (route.page === "patient") return `#/patients/${encodeURIComponent(route.id)}`;
  if ("id" in route) return `#/${route.page}/${encodeURIComponent(route.id)}`;
  return `#/${route.page}`;
}

export const route = signal<Route>(parseRoute(location.hash));

export function go(to: Route): void {
  location.hash = routeHash(to);
}

addEventListener("hashchange", () => {
  route.value = parseRoute(location.hash);
  scrollTo(0, 0);
});
