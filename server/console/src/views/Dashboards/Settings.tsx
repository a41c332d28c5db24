// The dashboard itself: title, refresh, time range, variables.
import { useState } from "react";
import { Button } from "../../components/Button";
import { Field, type Option, SelectField, TextField } from "../../components/Field";
import { Icon } from "../../components/Icon";
import { type Dashboard, isSame, rangesWith, refreshesWith, type Variable } from "../../dashboards/model";
import { DraftDialog } from "./DraftDialog";
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
  const change = (part: Partial<Dashboard>) => setDraft((old) => ({ ...old, ...part }));
  const setVariable = (at: number, variable: Variable) => change({ variables: draft.variables.with(at, variable) });
  const fault = draft.title.trim() === "" ? "The dashboard needs a title." : faultOf(draft.variables);
  return (
    <DraftDialog
      title="Dashboard"
      isChanged={!isSame(draft, dashboard)}
      action="Take over"
      disabled={fault !== null}
      note={
        fault && (
          <p className="settings-fault" role="alert">
            {fault}
          </p>
        )
      }
      onDone={() => onDone({ ...draft, title: draft.title.trim() })}
      onClose={onClose}
    >
      <div className="settings">
        <TextField label="Title" value={draft.title} maxLength={200} onValue={(title) => change({ title })} />
        <div className="row columns">
          <SelectField label="A panel runs at most once in" value={draft.refresh_ms} options={refreshesWith(draft.refresh_ms)} onValue={(refresh_ms) => change({ refresh_ms })} />
          <SelectField label="Time range at first" value={draft.time.last} options={rangesWith(draft.time.last)} onValue={(last) => change({ time: { last } })} />
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
    </DraftDialog>
  );
}

type Source = "text" | "values" | "sql";
const SOURCES: Option<Source>[] = [
  { value: "values", label: "a list" },
  { value: "sql", label: "the answer of a statement" },
  { value: "text", label: "nothing: it is typed" },
];

function VariableFields({ variable, onChange, onRemove }: { variable: Variable; onChange(variable: Variable): void; onRemove(): void }) {
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
        <TextField label="Name" className="mono" value={variable.name} maxLength={32} onValue={(name) => onChange({ ...variable, name })} />
        <TextField label="Label" value={variable.label} maxLength={200} placeholder={variable.name} onValue={(label) => onChange({ ...variable, label })} />
        <SelectField label="Chosen from" value={source} options={SOURCES} onValue={setSource} />
        <TextField label="At first" value={variable.default} maxLength={1000} placeholder={source === "text" ? "" : "All"} onValue={(value) => onChange({ ...variable, default: value })} />
        <Button kind="quiet" icon aria-label={`Remove the variable ${variable.name}`} onClick={onRemove}>
          <Icon name="close" />
        </Button>
      </div>
      {source === "values" && (
        <Field label="Values, one per line">
          <textarea className="input mono" rows={3} value={(variable.values ?? []).join("\n")} onChange={(event) => onChange({ ...variable, values: event.target.value.split("\n") })} onBlur={() => onChange({ ...variable, values: (variable.values ?? []).map((value) => value.trim()).filter(Boolean) })} />
        </Field>
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
