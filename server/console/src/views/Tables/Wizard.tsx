// From a topic to a table: name the topic, correct what its messages were taken for, look at the rows, apply.
import { useEffect, useState } from "react";
import { ApiError, errorDetails, isAbort } from "../../api/client";
import { Button } from "../../components/Button";
import { DataGrid } from "../../components/DataGrid";
import { EmptyState } from "../../components/EmptyState";
import { ErrorBox } from "../../components/ErrorBox";
import { Field, TextField } from "../../components/Field";
import { Page } from "../../components/Page";
import { Table } from "../../components/Table";
import { Tabs } from "../../components/Tabs";
import { counted } from "../../format";
import { useSending, useUnsaved } from "../../hooks";
import { navigate } from "../../router";
import { CheckedSpec, useRefusal } from "./CheckedSpec";
import { apply, dryRun, infer, type Preview, preview } from "./data";
import { FaultList, faultsOf } from "./SpecEditor";
import { MADE } from "./TablePage";
import { nameOf, parseProperties, renamed, template } from "./wizardText";

/** So long after the last key the rows are decoded anew. */
const PREVIEW_AFTER_MS = 600;

export function Wizard({ onClose }: { onClose(): void }) {
  const [source, setSource] = useState({ brokers: "", topic: "", properties: "" });
  const [spec, setSpec] = useState<{ text: string; seen: string } | null>(null);
  return (
    <Page
      title="A table from a topic"
      note={<span className="muted">{spec ? "2 of 2: correct the spec, look at the rows, apply" : "1 of 2: which topic"}</span>}
      tools={
        <>
          {spec && <Button onClick={() => setSpec(null)}>Back to the topic</Button>}
          <Button onClick={onClose}>All tables</Button>
        </>
      }
    >
      {spec ? <Correct first={spec.text} seen={spec.seen} /> : <Source source={source} onChange={setSource} onSpec={(text, seen) => setSpec({ text, seen })} />}
    </Page>
  );
}

interface SourceText {
  brokers: string;
  topic: string;
  properties: string;
}

function Source({ source, onChange, onSpec }: { source: SourceText; onChange(next: SourceText): void; onSpec(text: string, seen: string): void }) {
  const brokers = source.brokers.split(",").map((one) => one.trim()).filter(Boolean);
  const topic = source.topic.trim();
  const isReady = brokers.length > 0 && topic !== "";
  const { busy, error, submit } = useSending(isReady, async () => {
    const found = await infer({ brokers, topic, properties: parseProperties(source.properties) });
    const skipped = found.undecodable > 0 ? `; ${found.undecodable} of them ${found.undecodable === 1 ? "is" : "are"} no JSON object` : "";
    onSpec(found.spec, `${counted(found.columns.length, "column")} from the newest ${counted(found.messages_read, "message")}${skipped}`);
  });
  const details = error === null ? null : errorDetails(error);
  return (
    <form className="panel wizard-source" onSubmit={submit}>
      <TextField label="Brokers" autoFocus value={source.brokers} placeholder="kafka-1:9092, kafka-2:9092" spellCheck={false} autoComplete="off" onValue={(brokers) => onChange({ ...source, brokers })} />
      <TextField label="Topic" value={source.topic} spellCheck={false} autoComplete="off" onValue={(topic) => onChange({ ...source, topic })} />
      <Field label="Properties of the connection, one key=value per line (if any are needed)">
        <textarea className="input mono" rows={4} value={source.properties} placeholder={"security.protocol=SASL_SSL\nsasl.password=env:KAFKA_PASSWORD"} spellCheck={false} onChange={(event) => onChange({ ...source, properties: event.target.value })} />
      </Field>
      <p className="muted small">A value env:NAME or file:PATH is read by the server from there, so that no secret stands in the spec.</p>
      {details && (
        <div>
          <ErrorBox error={details} />
          <FaultList faults={faultsOf(details.faults)} onGoTo={() => undefined} />
        </div>
      )}
      <div className="row">
        <Button kind="primary" type="submit" busy={busy} disabled={!isReady}>
          {busy ? "Reading the topic…" : "Look at the topic"}
        </Button>
        <Button onClick={() => onSpec(template(brokers, topic), "")}>Write the spec by hand</Button>
      </div>
    </form>
  );
}

interface Looked {
  preview: Preview | null;
  error: unknown;
  busy: boolean;
}

/** What the spec makes of the topic's newest messages; the rows before stay until the next ones are there. */
function usePreview(text: string): Looked {
  const [looked, setLooked] = useState<Looked>({ preview: null, error: null, busy: true });
  useEffect(() => {
    const controller = new AbortController();
    const timer = setTimeout(async () => {
      setLooked((old) => ({ ...old, busy: true }));
      try {
        const made = await preview(text, controller.signal);
        if (!controller.signal.aborted) setLooked({ preview: made, error: null, busy: false });
      } catch (error) {
        if (!isAbort(error) && !controller.signal.aborted) setLooked((old) => ({ preview: old.preview, error, busy: false }));
      }
    }, PREVIEW_AFTER_MS);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [text]);
  return looked;
}

function Correct({ first, seen }: { first: string; seen: string }) {
  const [text, setText] = useState(first);
  const [busy, setBusy] = useState(false);
  const looked = usePreview(text);
  const { error, refuse } = useRefusal(text, looked.error);
  const hasFaults = faultsOf(errorDetails(error).faults).length > 0;
  useUnsaved(text !== first);
  const table = nameOf(text);

  const create = async () => {
    setBusy(true);
    try {
      // A conflict is one with the table of that name, too.
      const isNew = await dryRun(table, text).then(
        ({ applied }) => applied === "created",
        (failure) => {
          if (failure instanceof ApiError && failure.status === 409) return false;
          throw failure;
        },
      );
      if (!isNew) {
        const taken = { kind: "conflict", message: `There is a table ${table} already. Give this one another name, or edit the spec of that one on its page.` };
        refuse(new ApiError(409, taken));
        return;
      }
      await apply(table, text);
      navigate(`/tables/${encodeURIComponent(table)}${MADE}`);
    } catch (failure) {
      refuse(failure);
    } finally {
      setBusy(false);
    }
  };

  return (
    <div className="wizard">
      <section className="panel">
        <div className="panel-head">
          <label className="row small">
            Table
            <input className="input" autoFocus value={table} spellCheck={false} autoComplete="off" onChange={(event) => setText(renamed(text, event.target.value))} />
          </label>
          <span className="muted small">{seen}</span>
          <span className="spacer" />
          <Button kind="primary" busy={busy} disabled={table === "" || hasFaults} onClick={() => void create()}>
            {busy ? "Making it…" : "Make the table"}
          </Button>
        </div>
        <CheckedSpec text={text} onChange={setText} error={error} label="Spec of the new table" />
      </section>
      <PreviewPanel looked={looked} />
    </div>
  );
}

function PreviewPanel({ looked: { preview: made, busy } }: { looked: Looked }) {
  const [shown, setShown] = useState<"rows" | "letters">("rows");
  const letters = made?.dead_letters ?? [];
  return (
    <section className="panel preview">
      <div className="panel-head">
        <Tabs<"rows" | "letters">
          items={[
            { key: "rows", label: `Rows (${made?.rows.length ?? 0})` },
            { key: "letters", label: `Dead letters (${letters.length})` },
          ]}
          selected={shown}
          onSelect={setShown}
          label="What the spec makes of the newest messages"
          panel="preview-part"
        />
        <span className="spacer" />
        <span className="muted small" role="status">
          {busy ? "Reading…" : made ? `of the newest ${counted(made.messages_read, "message")}` : ""}
        </span>
      </div>
      <div id="preview-part" role="tabpanel" aria-label={shown === "rows" ? "Rows" : "Dead letters"}>
        {!made && <EmptyState title={busy ? "Reading the topic…" : "No rows"}>What the spec makes of the topic's newest messages appears here, with each change anew.</EmptyState>}
        {made && shown === "rows" && made.rows.length === 0 && <EmptyState title="No message became a row">The dead letters say why.</EmptyState>}
        {made && shown === "rows" && made.rows.length > 0 && (
          <div className="sample-grid">
            <DataGrid key={made.columns.map(({ name, type }) => `${name} ${type}`).join()} columns={made.columns} rows={made.rows} label="Previewed rows" />
          </div>
        )}
        {made && shown === "letters" && (
          <Table
            label="Previewed dead letters"
            columns={[
              { key: "partition", head: "Partition", cell: (one) => one.partition },
              { key: "offset", head: "Offset", number: true, cell: (one) => String(one.offset) },
              { key: "reason", head: "Reason", cell: (one) => <span className="wraps">{one.reason}</span> },
            ]}
            rows={letters}
            rowKey={(one) => `${one.partition} ${one.offset}`}
            empty="None: every message that was looked at becomes a row."
          />
        )}
      </div>
    </section>
  );
}
