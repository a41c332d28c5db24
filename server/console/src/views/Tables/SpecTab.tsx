// The spec of a table: read, edited, checked and applied.
import { useEffect, useMemo, useState } from "react";
import { ApiError } from "../../api/client";
import { Button } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { Panel } from "../../components/Page";
import { toast } from "../../components/Toast";
import { useUnsaved } from "../../hooks";
import { apply, dryRun, type TableDocument } from "./data";
import { CheckedSpec, useRefusal } from "./CheckedSpec";
import { toYaml } from "./yaml";

/** So long after the last key the spec is checked. */
const CHECK_AFTER_MS = 600;

/** Specs that were changed and not applied, by table, as long as the page lives: another tab or view drops none. */
const drafts = new Map<string, string>();

/** What the server says against a spec while it is written; what it said last stays until it has looked again. */
function useCheck(table: string, text: string, isChanged: boolean): unknown {
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    if (!isChanged) {
      setError(null);
      return;
    }
    const controller = new AbortController();
    const timer = setTimeout(() => {
      dryRun(table, text, controller.signal).then(
        () => setError(null),
        (failure: unknown) => {
          if (failure instanceof ApiError && !controller.signal.aborted) setError(failure);
        },
      );
    }, CHECK_AFTER_MS);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [table, text, isChanged]);
  return error;
}

interface SpecTabProps {
  table: string;
  document: TableDocument;
  mayChange: boolean;
  onApplied(): void;
}

export function SpecTab({ table, document, mayChange, onApplied }: SpecTabProps) {
  const present = useMemo(() => toYaml(document.spec), [document.spec]);
  const [draft, setDraft] = useState(drafts.get(table) ?? null);
  const [changes, setChanges] = useState<string[] | null>(null);
  const [busy, setBusy] = useState(false);
  const text = draft ?? present;
  const isChanged = text !== present;
  const { error, refuse } = useRefusal(text, useCheck(table, text, isChanged && mayChange));
  useUnsaved(isChanged);
  const write = (next: string | null) => {
    if (next === null || next === present) drafts.delete(table);
    else drafts.set(table, next);
    setDraft(next);
  };

  const check = async () => {
    setBusy(true);
    refuse(null);
    try {
      const { applied, changes: found } = await dryRun(table, text);
      if (applied === "unchanged") toast("That is the spec that the table has.");
      else setChanges(found ?? []);
    } catch (failure) {
      refuse(failure);
    } finally {
      setBusy(false);
    }
  };

  return (
    <Panel
      title="Spec"
      note={mayChange ? "Edit it and apply. Escape, then Tab leaves the editor." : "Only administrators change it."}
      tools={
        mayChange && (
          <>
            <Button
              kind="quiet"
              disabled={!isChanged}
              onClick={() => {
                write(null);
                refuse(null);
              }}
            >
              Undo all
            </Button>
            <Button kind="primary" busy={busy} disabled={!isChanged} onClick={() => void check()}>
              {busy ? "Checking…" : "Apply…"}
            </Button>
          </>
        )
      }
    >
      <CheckedSpec text={text} onChange={write} error={error} readOnly={!mayChange} label={`Spec of ${table}`} />
      {changes && (
        <Confirm
          title={`Change ${table}`}
          action="Apply"
          onClose={() => setChanges(null)}
          onConfirm={async () => {
            try {
              await apply(table, text);
            } catch (failure) {
              setChanges(null);
              refuse(failure);
              return;
            }
            toast(`${table} has its new spec.`);
            setChanges(null);
            write(null);
            refuse(null);
            onApplied();
          }}
        >
          <p>What is open is sealed with the present spec; the new one counts from there on.</p>
          {changes.length > 0 && (
            <ul className="changes" aria-label="What changes">
              {changes.map((change) => (
                <li key={change}>
                  <code>{change}</code>
                </li>
              ))}
            </ul>
          )}
        </Confirm>
      )}
    </Panel>
  );
}
