// What was run before, newest first; a word narrows it down, Enter takes one.
import { useMemo, useState } from "react";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { Badge, Time } from "../../components/Figures";
import { counted, duration, ZONE } from "../../format";
import { forgetHistory, useHistory } from "./workspace";

export function History({ onClose, onOpen }: { onClose(): void; onOpen(sql: string): void }) {
  const past = useHistory();
  const [filter, setFilter] = useState("");
  const shown = useMemo(() => {
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    return past.filter(({ sql }) => words.every((word) => sql.toLowerCase().includes(word)));
  }, [past, filter]);
  return (
    <Dialog
      title="History"
      wide
      onClose={onClose}
      actions={
        <Button kind="danger" disabled={past.length === 0} onClick={forgetHistory}>
          Forget all
        </Button>
      }
    >
      <input className="input history-filter" type="search" aria-label="Filter the history" placeholder="Filter" value={filter} onChange={(event) => setFilter(event.target.value)} />
      {shown.length === 0 && <p className="muted">{past.length === 0 ? "Nothing was run yet." : "Nothing that was run has these words."}</p>}
      {shown.length > 0 && <p className="muted small">Newest first; times in {ZONE}.</p>}
      <ul className="history">
        {shown.map((entry) => (
          <li key={entry.at}>
            <button type="button" onClick={() => onOpen(entry.sql)}>
              <code>{entry.sql}</code>
              <span className="row muted small">
                <Time value={entry.at} />
                {entry.state === "done" ? (
                  <span>
                    {counted(entry.rows, "row")} in {duration(entry.ms)}
                  </span>
                ) : (
                  <Badge tone={entry.state === "failed" ? "bad" : "warn"}>{entry.state}</Badge>
                )}
              </span>
            </button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
