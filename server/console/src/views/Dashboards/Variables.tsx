// What a viewer chooses: the values of variables and the time range.
import { useEffect, useState } from "react";
import { errorDetails, sql } from "../../api/client";
import { Select } from "../../components/Field";
import { listValues } from "../../dashboards/api";
import { type Chosen, type Dashboard, rangesWith, type Variable, valuesOf } from "../../dashboards/model";
import { ZONE } from "../../format";
import { useLoad } from "../../hooks";
import { cellText } from "../../sqlTypes";

const VALUES_MAX = 1_000;

interface ChoicesProps {
  /** What the server has; `dashboard` may be a draft. */
  saved: { id: string; dashboard: Dashboard };
  dashboard: Dashboard;
  chosen: Chosen;
  onChosen(chosen: Chosen): void;
}

export function Choices({ saved, dashboard, chosen, onChosen }: ChoicesProps) {
  const values = valuesOf(dashboard, chosen);
  const last = chosen.last ?? dashboard.time.last;
  const isSaved = (variable: Variable) => saved.dashboard.variables.some((one) => one.name === variable.name && one.sql === variable.sql);
  return (
    <>
      {dashboard.variables.map((variable) => (
        <Choice key={variable.name} savedIn={isSaved(variable) ? saved.id : null} variable={variable} value={values[variable.name] ?? ""} onValue={(value) => onChosen({ ...chosen, values: { ...chosen.values, [variable.name]: value } })} />
      ))}
      <label className="board-choice">
        <span className="visually-hidden">Time range</span>
        <Select value={last} options={rangesWith(last)} onValue={(range) => onChosen({ ...chosen, last: range })} />
      </label>
      <span className="board-zone muted small" title="Charts show times in your zone; tables show them as the server sends them, with theirs.">
        {ZONE}
      </span>
    </>
  );
}

interface ChoiceProps {
  /** The dashboard that has this variable; null: it is not saved. */
  savedIn: string | null;
  variable: Variable;
  value: string;
  onValue(value: string): void;
}

function Choice({ savedIn, variable, value, onValue }: ChoiceProps) {
  return (
    <label className="board-choice">
      <span>{variable.label || variable.name}</span>
      {variable.kind === "text" ? <TextChoice value={value} onValue={onValue} /> : <ListChoice savedIn={savedIn} variable={variable} value={value} onValue={onValue} />}
    </label>
  );
}

/** Taken over with Enter, or when the field is left. */
function TextChoice({ value, onValue }: { value: string; onValue(value: string): void }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const take = () => {
    if (text !== value) onValue(text);
  };
  return <input className="input" value={text} maxLength={1000} onChange={(event) => setText(event.target.value)} onBlur={take} onKeyDown={(event) => event.key === "Enter" && take()} />;
}

function ListChoice({ savedIn, variable, value, onValue }: ChoiceProps) {
  const { data, error } = useLoad(`values ${savedIn ?? ""} ${variable.name} ${variable.sql ?? JSON.stringify(variable.values)}`, async (signal) => {
    if (!variable.sql) return variable.values ?? [];
    if (savedIn !== null) return (await listValues(savedIn, variable.name, signal)).map(cellText);
    // The first values of a list that is too long, or of one that failed on its way, are those that there are.
    const answer = await sql(variable.sql, { rowsMax: VALUES_MAX, signal });
    if (answer.error && answer.rows.length === 0) throw new Error(answer.error.message);
    return answer.rows.map((row) => cellText(row[0]));
  });
  const names = [...new Set([...(variable.default === "" ? [""] : []), ...(data ?? []), value])];
  const options = names.map((name) => ({ value: name, label: name === "" ? "All" : name }));
  return (
    <>
      <Select value={value} options={options} onValue={onValue} />
      {error !== null && (
        <span className="board-choice-fault" role="status" title={errorDetails(error).message}>
          its list failed
        </span>
      )}
    </>
  );
}
