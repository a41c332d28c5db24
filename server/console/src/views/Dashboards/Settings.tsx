// The dashboard itself: title, refresh, time range, variables.
import { useId, useState } from "react";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { Icon } from "../../components/Icon";
import { useAsking } from "./Confirm";
import { type Dashboard, isSame, RANGES, REFRESHES, rangeLabel, type Variable } from "./model";
import { SqlField } from "./SqlField";

const NAME = /^[a-z][a-z0-9_]{0,31}$/;
const RESERVED = new Set(["time_from", "time_to", "partition", "offset", "timestamp", "key", "headers"]);

/** What is wrong with the variables; null: nothing. */
function faultOf(variables: Variable[]): string | null {
  const names = variables.map((variable) => variable.name);
  for (const [i, variable] of variables.entries()) {
    if (!NAME.test(variable.name)) return `“${variable.name}” is not a name: use a lower-case letter, then lower-case letters, digits and _.`;
    if (RESERVED.has(variable.name)) return `$${variable.name} has a meaning of its own; choose another name.`;
    if (names.indexOf(variable.name) !== i) return `There are two variables $${variable.name}.`;
    if (variable.kind === "list" && variable.sql !== undefined && variable.sql.trim() === "") return `The list of $${variable.name} needs a statement.`;
  }
  return null;
}

interface SettingsProps {
  dashboard: Dashboard;
  onClose(): void;
  onDone(dashboard: Dashboard): void;
}

export function Settings({ dashboard, onClose, onDone }: SettingsProps) {
  const [draft, setDraft] = useState(dashboard);
  const { leave, question } = useAsking(!isSame(draft, dashboard), onClose);
  const change = (part: Partial<Dashboard>) => setDraft((old) => ({ ...old, ...part }));
  const setVariable = (at: number, variable: Variable) => change({ variables: draft.variables.with(at, variable) });
  const fault = draft.title.trim() === "" ? "The dashboard needs a title." : faultOf(draft.variables);
  const { last } = draft.time;
  const ranges = RANGES.some((range) => range.last === last) ? RANGES : [...RANGES, { last, label: rangeLabel(last) }];
  const refreshes = REFRESHES.some(({ ms }) => ms === draft.refresh_ms) ? REFRESHES : [...REFRESHES, { ms: draft.refresh_ms, label: `${draft.refresh_ms} ms` }];
  return (
    <>
      <Dialog
        wide
        title="Dashboard"
        onClose={leave}
        actions={
          <>
            {fault && (
              <p className="settings-fault" role="alert">
                {fault}
              </p>
            )}
            <Button onClick={onClose}>Cancel</Button>
            <Button kind="primary" disabled={fault !== null} onClick={() => onDone({ ...draft, title: draft.title.trim() })}>
              Take over
            </Button>
          </>
        }
      >
        <div className="settings">
          <label className="field">
            <span>Title</span>
            <input className="input" value={draft.title} maxLength={200} onChange={(event) => change({ title: event.target.value })} />
          </label>
          <div className="row columns">
            <label className="field">
              <span>A panel runs at most once in</span>
              <select className="select" value={draft.refresh_ms} onChange={(event) => change({ refresh_ms: Number(event.target.value) })}>
                {refreshes.map(({ ms, label }) => (
                  <option key={ms} value={ms}>
                    {label}
                  </option>
                ))}
              </select>
            </label>
            <label className="field">
              <span>Time range at first</span>
              <select className="select" value={last} onChange={(event) => change({ time: { last: event.target.value } })}>
                {ranges.map((range) => (
                  <option key={range.last} value={range.last}>
                    {range.label}
                  </option>
                ))}
              </select>
            </label>
          </div>
          <section aria-label="Variables">
            <div className="row">
              <h3>Variables</h3>
              <span className="spacer" />
              <Button onClick={() => change({ variables: [...draft.variables, { name: `v${draft.variables.length + 1}`, label: "", kind: "list", values: [], default: "" }] })} disabled={draft.variables.length >= 20}>
                <Icon name="plus" /> Variable
              </Button>
            </div>
            {draft.variables.length === 0 && <p className="muted">None. A panel calls a variable by its name, as in <code>WHERE $city = '' OR city = $city</code>; the empty value is offered as “All”.</p>}
            <ul className="settings-variables">
              {draft.variables.map((variable, at) => (
                <li key={at}>
                  <VariableFields variable={variable} onChange={(next) => setVariable(at, next)} onRemove={() => change({ variables: draft.variables.toSpliced(at, 1) })} />
                </li>
              ))}
            </ul>
          </section>
        </div>
      </Dialog>
      {question}
    </>
  );
}

type Source = "text" | "values" | "sql";

function VariableFields({ variable, onChange, onRemove }: { variable: Variable; onChange(variable: Variable): void; onRemove(): void }) {
  const id = useId();
  const source: Source = variable.kind === "text" ? "text" : variable.sql === undefined ? "values" : "sql";
  const setSource = (next: Source) => {
    const { name, label, default: value } = variable;
    if (next === "text") onChange({ name, label, kind: "text", default: value });
    else if (next === "values") onChange({ name, label, kind: "list", values: variable.values ?? [], default: value });
    else onChange({ name, label, kind: "list", sql: variable.sql ?? "", default: value });
  };
  return (
    <fieldset>
      <legend className="visually-hidden">Variable {variable.name}</legend>
      <div className="row columns">
        <label className="field">
          <span>Name</span>
          <input className="input mono" value={variable.name} maxLength={32} onChange={(event) => onChange({ ...variable, name: event.target.value })} />
        </label>
        <label className="field">
          <span>Label</span>
          <input className="input" value={variable.label} maxLength={200} placeholder={variable.name} onChange={(event) => onChange({ ...variable, label: event.target.value })} />
        </label>
        <label className="field">
          <span>Chosen from</span>
          <select className="select" value={source} onChange={(event) => setSource(event.target.value as Source)}>
            <option value="values">a list</option>
            <option value="sql">the answer of a statement</option>
            <option value="text">nothing: it is typed</option>
          </select>
        </label>
        <label className="field">
          <span>At first</span>
          <input className="input" value={variable.default} maxLength={1000} placeholder={source === "text" ? "" : "All"} onChange={(event) => onChange({ ...variable, default: event.target.value })} />
        </label>
        <Button kind="quiet" icon aria-label={`Remove the variable ${variable.name}`} onClick={onRemove}>
          <Icon name="close" />
        </Button>
      </div>
      {source === "values" && (
        <label className="field" htmlFor={id}>
          <span>Values, one per line</span>
          <textarea id={id} className="input mono" rows={3} value={(variable.values ?? []).join("\n")} onChange={(event) => onChange({ ...variable, values: event.target.value.split("\n") })} onBlur={() => onChange({ ...variable, values: (variable.values ?? []).map((value) => value.trim()).filter(Boolean) })} />
        </label>
      )}
      {source === "sql" && (
        <div className="field">
          <span>The first column of</span>
          <div className="settings-sql">
            <SqlField label={`Values of ${variable.name}`} value={variable.sql ?? ""} onChange={(sql) => onChange({ ...variable, sql })} hint="SELECT DISTINCT city FROM rides ORDER BY 1" />
          </div>
        </div>
      )}
    </fieldset>
  );
}
