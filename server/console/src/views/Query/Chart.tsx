// The chart of an answer, and the pickers for what it shows.
import { useMemo } from "react";
import type { Answer } from "../../api/types";
import { AnswerChart } from "../../charts/AnswerChart";
import { CHART_KINDS, type ChartChoice, defaultChoice, fittingChoice, isChartKind, xColumns } from "../../charts/choice";
import { EmptyState } from "../../components/EmptyState";
import { kindOf } from "../../sqlTypes";

interface ChartPaneProps {
  answer: Answer;
  /** What was picked; null means that the answer decides. */
  picked: ChartChoice | null;
  onPick(choice: ChartChoice): void;
}

export function ChartPane({ answer, picked, onPick }: ChartPaneProps) {
  const choice = useMemo(() => (picked ? fittingChoice(picked, answer) : defaultChoice(answer)), [answer, picked]);
  if (!choice) return <EmptyState title="No chart for this answer">A chart needs at least one row and one column with numbers.</EmptyState>;
  const numbers = answer.columns.filter((column) => kindOf(column.type) === "number");
  const groups = answer.columns.filter((column) => ["text", "boolean"].includes(kindOf(column.type)));
  const isNumber = choice.kind === "number";
  const toggle = (name: string) => {
    const y = choice.y.includes(name) ? choice.y.filter((other) => other !== name) : [...choice.y, name];
    if (y.length > 0) onPick({ ...choice, y });
  };
  return (
    <div className="chart-pane">
      <div className="chart-pickers" role="group" aria-label="What the chart shows">
        <label className="field">
          <span>Chart</span>
          <select className="select" value={choice.kind} onChange={(event) => isChartKind(event.target.value) && onPick({ ...choice, kind: event.target.value })}>
            {CHART_KINDS.map(({ kind, label }) => (
              <option key={kind} value={kind}>
                {label}
              </option>
            ))}
          </select>
        </label>
        {!isNumber && (
          <label className="field">
            <span>X axis</span>
            <select className="select" value={choice.x ?? ""} onChange={(event) => onPick({ ...choice, x: event.target.value || null })}>
              <option value="">row number</option>
              {xColumns(answer.columns, choice.kind).map((column) => (
                <option key={column.name} value={column.name}>
                  {column.name}
                </option>
              ))}
            </select>
          </label>
        )}
        <fieldset className="field values">
          <legend>{isNumber ? "Values" : "Y axis"}</legend>
          <div className="chips">
            {numbers.map((column) => (
              <label key={column.name} className="chip">
                <input type="checkbox" checked={choice.y.includes(column.name)} onChange={() => toggle(column.name)} />
                <span>{column.name}</span>
              </label>
            ))}
          </div>
        </fieldset>
        {!isNumber && (
          <label className="field">
            <span>One series for each</span>
            <select className="select" value={choice.by ?? ""} onChange={(event) => onPick({ ...choice, by: event.target.value || null })}>
              <option value="">–</option>
              {groups.map((column) => (
                <option key={column.name} value={column.name}>
                  {column.name}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
      <div className="chart-area">
        <AnswerChart answer={answer} choice={choice} label={`${choice.kind} chart of ${choice.y.join(", ")}${choice.x ? ` over ${choice.x}` : ""}`} />
      </div>
    </div>
  );
}
