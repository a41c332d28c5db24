// Numbers with their units, and rows of such numbers.
import type { ReactNode } from "react";
import { bytesParts, durationParts, timeText, whole, ZONE } from "../format";
import { instantOf } from "../sqlTypes";

type Known = number | string | null | undefined;

const withUnit = ([value, unit]: [string, string]) => (
  <>
    {value}
    {unit && <span className="unit">{unit}</span>}
  </>
);

export const Whole = ({ value }: { value: Known }) => <>{whole(value)}</>;
export const Duration = ({ ms }: { ms: Known }) => withUnit(durationParts(ms));
export const Bytes = ({ value }: { value: Known }) => withUnit(bytesParts(value));

/** An instant in the reader's zone. */
export function Time({ value }: { value: string | number | null }) {
  const text = timeText(value);
  return text === "" ? null : (
    <time dateTime={new Date(instantOf(value)).toISOString()} title={`${text} ${ZONE}`}>
      {text}
    </time>
  );
}

export function Figures({ children, label }: { children: ReactNode; label?: string }) {
  return (
    <dl className="figures" aria-label={label}>
      {children}
    </dl>
  );
}

export function Figure({ label, children, hint }: { label: string; children: ReactNode; hint?: string }) {
  return (
    <div className="figure" title={hint}>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

export function Badge({ tone = "plain", children }: { tone?: "plain" | "good" | "warn" | "bad" | "accent"; children: ReactNode }) {
  return <span className={`badge ${tone}`}>{children}</span>;
}
