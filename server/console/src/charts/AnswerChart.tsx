// An answer as the chart that was chosen.
import { useMemo } from "react";
import type { Answer } from "../api/types";
import { Chart } from "../components/Chart";
import { EmptyState } from "../components/EmptyState";
import { cellText } from "../sqlTypes";
import type { ChartChoice } from "./choice";
import { chartOption } from "./option";

/** 1234567.50 -> 1,234,567.50: every digit as the server sent it. */
function grouped(text: string): string {
  const parts = /^(-?)(\d+)(\.\d+)?$/.exec(text);
  return parts ? `${parts[1]}${BigInt(parts[2] ?? "0").toLocaleString("en-US")}${parts[3] ?? ""}` : text;
}

/** More digits than people read are cut from fractions that were computed. */
function readable(text: string): string {
  const number = Number(text);
  return /\.\d{5,}/.test(text) && Number.isFinite(number) ? grouped(String(Number(number.toPrecision(8)))) : grouped(text);
}

export function AnswerChart({ answer, choice, label }: { answer: Pick<Answer, "columns" | "rows">; choice: ChartChoice; label: string }) {
  const drawn = useMemo(() => (choice.kind === "number" ? null : chartOption(answer, choice)), [answer, choice]);
  if (choice.kind === "number") {
    const [row] = answer.rows;
    const values = choice.y.map((name) => ({ name, value: row?.[answer.columns.findIndex((column) => column.name === name)] ?? null }));
    return (
      <div className="big-numbers">
        {values.map(({ name, value }) => (
          <div key={name} className="big-number">
            <strong title={cellText(value)}>{readable(cellText(value))}</strong>
            <span className="muted">{name}</span>
          </div>
        ))}
      </div>
    );
  }
  if (!drawn) return <EmptyState title="Nothing to draw">Choose a column with numbers for the values.</EmptyState>;
  return (
    <div className="answer-chart">
      <Chart option={drawn.option} label={label} />
      {drawn.left && <p className="muted small">{drawn.left}</p>}
    </div>
  );
}
