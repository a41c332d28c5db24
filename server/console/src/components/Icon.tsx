// The few icons of the console, drawn with strokes in the text's colour.
const PATHS = {
  play: "M5 3.5v9l7.5-4.500z",
  stop: "M4.5 4.500h7v7h-7z",
  plus: "M8 3.500v9M3.5 8h9",
  close: "M4 4l8 8M12 4l-8 8",
  sun: "M8 5.200a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.600M8 1.500v1.300M8 13.200v1.300M1.5 8h1.300M13.2 8h1.300M3.4 3.400l.9.9M11.7 11.700l.9.9M3.4 12.600l.9-.9M11.7 4.300l.9-.9",
  moon: "M13 9.700A5.5 5.5 0 0 1 6.3 3a5.5 5.5 0 1 0 6.7 6.700z",
  link: "M6.8 9.200a2.5 2.5 0 0 0 3.5 0l2-2a2.5 2.5 0 0 0-3.5-3.500l-.8.8M9.2 6.800a2.5 2.5 0 0 0-3.5 0l-2 2a2.5 2.5 0 0 0 3.5 3.500l.8-.8",
  download: "M8 2.500v7.500M4.8 7L8 10.2 11.2 7M3 13h10",
  history: "M2.8 8a5.2 5.2 0 1 0 1.5-3.700L2.8 5.800M2.8 2.800v3h3M8 5.200V8l2 1.3",
  chart: "M2.5 13.500h11M4.5 11V8M8 11V4M11.5 11V6",
  table: "M2.5 3h11v10h-11zM2.5 6.300h11M6.5 6.300V13",
  tree: "M8 2.500v3M4 10.500V8h8v2.500M8 5.500V8M3 10.500h2v2.500H3zM11 10.500h2v2.500h-2zM7 2.500h2",
  copy: "M5.5 5.500h7.500v7.500H5.500zM3 10.500V3h7.5",
  chevron: "M4.5 6.300L8 9.800l3.5-3.5",
  expand: "M6 2.500H2.500V6M10 2.500h3.500V6M6 13.500H2.500V10M10 13.500h3.500V10",
  search: "M7 2.800a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.400M10.2 10.200l3.3 3.3",
  pencil: "M3 13l.6-2.800L10.800 3a1.200 1.200 0 0 1 1.700 0l.5.500a1.200 1.200 0 0 1 0 1.700L5.800 12.400zM9.600 4.200l2.200 2.200",
  dots: "M3.100 8a.4.4 0 1 0 .8 0a.4.4 0 1 0-.8 0M7.600 8a.4.4 0 1 0 .8 0a.4.4 0 1 0-.8 0M12.100 8a.4.4 0 1 0 .8 0a.4.4 0 1 0-.8 0",
  alert: "M8 2.500l6 10.700H2zM8 6.500v3.200M8 11.400v.2",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" strokeWidth="1.4" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
