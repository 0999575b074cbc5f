/** Line icons, drawn on a 24-unit grid; always beside words or under a label, so hidden from screen readers. */

const PATHS = {
  check:
    "M4 8V6a2 2 0 0 1 2-2h2M16 4h2a2 2 0 0 1 2 2v2M20 16v2a2 2 0 0 1-2 2h-2M8 20H6a2 2 0 0 1-2-2v-2M12 8.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7",
  notebook: "M7 3h11a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H7a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2ZM9 3v18M13 8h3M13 12h3",
  models: "M12 3l8 4.5v9L12 21l-8-4.5v-9ZM12 12l8-4.5M12 12v9M12 12L4 7.5",
  camera:
    "M4 8h3l1.5-2.5h7L17 8h3a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V9a1 1 0 0 1 1-1ZM12 10a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7",
  image:
    "M5 4h14a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1ZM4 16l4.5-4.5 4 4L15 13l5 5M15.5 8a.75.75 0 1 0 0 1.5a.75.75 0 1 0 0-1.5",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  expand: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  crop: "M7 3v14h14M3 7h14v14",
  turn: "M20 12a8 8 0 1 1-2.6-5.9M20 3v4.5h-4.5",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  close: "M6 6l12 12M18 6L6 18",
  save: "M6 4h10l3 3v13H5V5a1 1 0 0 1 1-1ZM8 4v5h7V4M8 20v-6h8v6",
  print: "M7 9V4h10v5M7 17H4v-7a1 1 0 0 1 1-1h14a1 1 0 0 1 1 1v7h-3M7 14h10v6H7Z",
  export: "M12 15V4M8 7.5L12 3.5l4 4M5 14v5a1 1 0 0 0 1 1h12a1 1 0 0 0 1-1v-5",
  import: "M12 4v11M8 11.5l4 4 4-4M5 14v5a1 1 0 0 0 1 1h12a1 1 0 0 0 1-1v-5",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13a6.5 6.5 0 1 0 0-13M15.5 15.5L21 21",
  back: "M15 5l-7 7 7 7",
  compare: "M12 3v18M8 7H4v10h4M16 7h4v10h-4",
  torch: "M8 3h8v4l-2 3v11h-4V10L8 7ZM8 7h8M12 13v2",
  flip: "M4 9V7a1 1 0 0 1 1-1h13M15 3l3 3-3 3M20 15v2a1 1 0 0 1-1 1H6M9 21l-3-3 3-3",
  sun: "M12 8a4 4 0 1 0 0 8a4 4 0 1 0 0-8M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 1 1 9.5 4 7 7 0 0 0 20 14.5Z",
  auto: "M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 1 0 0-17M12 7a5 5 0 0 1 0 10Z",
  info: "M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 1 0 0-17M12 11v5.5M12 7.5v.5",
  warning: "M12 4l9 16H3ZM12 10v4.5M12 17v.5",
  done: "M5 12.5l4.5 4.5L19 7.5",
  question:
    "M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 1 0 0-17M9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8M12 16.5v.3",
  lock: "M7 11V8a5 5 0 0 1 10 0v3M6 11h12v9H6Z",
  patients:
    "M9 4.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7M3 20c0-4 2.5-6 6-6s6 2 6 6M16 5a3 3 0 0 1 0 6M17.5 14c2.300.6 3.5 2.6 3.5 6",
  edit: "M4 20l1-4L16 5l3 3L8 19ZM14 7l3 3",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
