// Numbers as people read them. What is not known is a dash; nothing is made up.
import { instantOf } from "./sqlTypes";

export const UNKNOWN = "–";

type Known = number | string | null | undefined;

const parsed = (value: Known): number | null => {
  if (value === null || value === undefined || value === "") return null;
  const number = Number(value);
  return Number.isFinite(number) ? number : null;
};

/** 1234567 -> 1,234,567; a text with digits keeps every one of them. */
export function whole(value: Known): string {
  if (typeof value === "string" && /^-?\d+$/.test(value)) return BigInt(value).toLocaleString("en-US");
  const number = parsed(value);
  return number === null ? UNKNOWN : Math.round(number).toLocaleString("en-US");
}

/** 1234567 -> 1.23 M */
export function compact(value: Known): string {
  const number = parsed(value);
  if (number === null) return UNKNOWN;
  const size = Math.abs(number);
  for (const [limit, unit] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e4, " k"]] as const) {
    if (size >= limit) return String(Number((number / (limit === 1e4 ? 1e3 : limit)).toPrecision(3))) + unit;
  }
  return Number.isInteger(number) ? number.toLocaleString("en-US") : String(Number(number.toPrecision(4)));
}

/** A duration in milliseconds as a number and its unit. */
export function durationParts(ms: Known): [string, string] {
  const value = parsed(ms);
  if (value === null) return [UNKNOWN, ""];
  if (value > 0 && value < 0.001) return [String(Math.round(value * 1e6)), "ns"];
  if (value < 0.1) return value === 0 ? ["0", "ms"] : [(value * 1000).toPrecision(2).replace(/\.0$/, ""), "µs"];
  if (value < 1) return [value.toFixed(2), "ms"];
  if (value < 10) return [value.toFixed(1), "ms"];
  if (value < 1000) return [String(Math.round(value)), "ms"];
  if (value < 120_000) return [(value / 1000).toFixed(value < 10_000 ? 2 : 1), "s"];
  if (value < 7_200_000) return [(value / 60_000).toFixed(0), "min"];
  if (value < 172_800_000) return [(value / 3_600_000).toFixed(0), "h"];
  return [(value / 86_400_000).toFixed(0), "d"];
}

export const duration = (ms: Known): string => durationParts(ms).filter(Boolean).join(" ");

/** Bytes as a number and its unit. */
export function bytesParts(value: Known): [string, string] {
  let rest = parsed(value);
  if (rest === null) return [UNKNOWN, ""];
  for (const unit of ["B", "KiB", "MiB", "GiB", "TiB"]) {
    if (Math.abs(rest) < 1024 || unit === "TiB") return [rest.toFixed(unit === "B" || rest >= 100 ? 0 : 1), unit];
    rest /= 1024;
  }
  return [UNKNOWN, ""];
}

export const bytes = (value: Known): string => bytesParts(value).filter(Boolean).join(" ");

/** A rate per second. */
export const perSecond = (value: Known): string => (parsed(value) === null ? UNKNOWN : `${compact(value)}/s`);

/** 12 -> "12 rows", 1 -> "1 row" */
export const counted = (value: Known, one: string, many = `${one}s`): string => `${whole(value)} ${Number(value) === 1 ? one : many}`;

/** The reader's time zone, by its name. */
export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
export const IN_ZONE = `times in ${ZONE}`;

const INSTANT_MAX = 8e15;

/** An instant in the reader's zone, 2026-01-31 17:05:09; nothing where there is none. */
export function timeText(value: string | number | null): string {
  const instant = instantOf(value);
  if (!(Math.abs(instant) < INSTANT_MAX)) return "";
  const offset_ms = new Date(instant).getTimezoneOffset() * 60_000;
  return new Date(instant - offset_ms).toISOString().slice(0, 19).replace("T", " ");
}

/** The time of day of an instant, in the reader's zone. */
export const timeOfDay = (value: string | number | Date): string => new Date(value).toLocaleTimeString("en-GB");
