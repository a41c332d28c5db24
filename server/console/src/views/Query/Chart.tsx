// The chart of an answer, and the pickers for what it shows.
import { useMemo } from "react";
import type { Answer, Column } from "../../api/types";
import { AnswerChart } from "../../charts/AnswerChart";
import { CHART_KINDS, type ChartChoice, defaultChoice, fittingChoice, xColumns } from "../../charts/choice";
import { EmptyState } from "../../components/EmptyState";
import { SelectField, withNone } from "../../components/Field";
import { IN_ZONE } from "../../format";
import { kindOf } from "../../sqlTypes";

interface ChartPaneProps {
  answer: Answer;
  /** What was picked; null means that the answer decides. */
  picked: ChartChoice | null;
  onPick(choice: ChartChoice): void;
}

const namesOf = (columns: Column[]) => columns.map((column) => column.name);

export function ChartPane({ answer, picked, onPick }: ChartPaneProps) {
  const choice = useMemo(() => (picked ? fittingChoice(picked, answer) : defaultChoice(answer)), [answer, picked]);
  if (!choice) return <EmptyState title="No chart for this answer">A chart needs at least one row and one column with numbers.</EmptyState>;
  const numbers = answer.columns.filter((column) => kindOf(column.type) === "number");
  const groups = answer.columns.filter((column) => ["text", "boolean"].includes(kindOf(column.type)));
  const isTime = answer.columns.some((column) => column.name === choice.x && kindOf(column.type) === "time");
  const isNumber = choice.kind === "number";
  const toggle = (name: string) => {
    const y = choice.y.includes(name) ? choice.y.filter((other) => other !== name) : [...choice.y, name];
    if (y.length > 0) onPick({ ...choice, y });
  };
  return (
    <div className="chart-pane">
      <div className="chart-pickers" role="group" aria-label="What the chart shows">
        <SelectField label="Chart" value={choice.kind} options={CHART_KINDS} onValue={(kind) => onPick({ ...choice, kind })} />
        {!isNumber && <SelectField label="X axis" value={choice.x ?? ""} options={withNone("row number", namesOf(xColumns(answer.columns, choice.kind)))} onValue={(x) => onPick({ ...choice, x: x || null })} />}
        <fieldset className="field values">
          <legend>{isNumber ? "Values" : "Y axis"}</legend>
          <div className="picks">
            {numbers.map((column) => (
              <label key={column.name} className="pick">
                <input type="checkbox" checked={choice.y.includes(column.name)} onChange={() => toggle(column.name)} />
                <span>{column.name}</span>
              </label>
            ))}
          </div>
        </fieldset>
        {!isNumber && <SelectField label="One series for each" value={choice.by ?? ""} options={withNone("–", namesOf(groups))} onValue={(by) => onPick({ ...choice, by: by || null })} />}
        {isTime && <span className="chart-zone muted small">{IN_ZONE}</span>}
      </div>
      <div className="chart-area">
        <AnswerChart answer={answer} choice={choice} label={`${choice.kind} chart of ${choice.y.join(", ")}${choice.x ? ` over ${choice.x}` : ""}`} />
      </div>
    </div>
  );
}
