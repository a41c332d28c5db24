// What an answer says of itself: rows, time, and per table which part of the stream is in it and how fresh that is.
import { useState } from "react";
import type { Answer, Cut } from "../../api/types";
import { Button } from "../../components/Button";
import { Badge } from "../../components/Figures";
import { Table } from "../../components/Table";
import { compact, counted, duration, whole } from "../../format";
import { useDismiss } from "../../hooks";

export function Facts({ answer, elapsedMs }: { answer: Answer; elapsedMs: number }) {
  const { stats } = answer;
  return (
    <div className="facts">
      <span>
        <strong>{counted(answer.rows.length, "row")}</strong>
        <span className="muted" title={`${duration(elapsedMs)} until it was here`}>
          {" "}
          in {duration(stats?.elapsed_ms ?? elapsedMs)}
        </span>
      </span>
      {stats?.rows_total > 0 && (
        <span className="muted" title={`${whole(stats.rows_scanned)} of ${whole(stats.rows_total)} rows, ${whole(stats.segments_scanned)} of ${whole(stats.segments_total)} segments`}>
          read {compact(stats.rows_scanned)} of {compact(stats.rows_total)} rows, {whole(stats.segments_scanned)} of {counted(stats.segments_total, "segment")}
        </span>
      )}
      {Object.entries(answer.cut ?? {}).map(([table, cut]) => (
        <CutButton key={table} table={table} cut={cut} />
      ))}
    </div>
  );
}

function CutButton({ table, cut }: { table: string; cut: Cut }) {
  const [open, setOpen] = useState(false);
  const ref = useDismiss(open, () => setOpen(false));
  const known = cut.freshness_ms !== null && cut.freshness_ms !== undefined;
  const isPartial = (cut.missing?.length ?? 0) > 0;
  const offsets = Object.entries(cut.offsets ?? {}).sort((a, b) => Number(a[0]) - Number(b[0]));
  return (
    <div className="menu-anchor" ref={ref}>
      <Button kind="quiet" className="cut-button" aria-haspopup="dialog" aria-expanded={open} onClick={() => setOpen(!open)}>
        <Badge tone={isPartial ? "warn" : "good"}>
          {table}
          {known && `: newest row ${duration(cut.freshness_ms)} old`}
        </Badge>
      </Button>
      {open && (
        <div className="menu cut-details" role="dialog" aria-label={`What of ${table} is in the answer`}>
          <p>
            <strong>{table}</strong> at log version {whole(cut.log_version)}
          </p>
          <p className="muted small">Every row below these offsets is in the answer, and none above.</p>
          {isPartial && <p className="small">Missing: {cut.missing?.join("; ")}</p>}
          <Table
            label={`Offsets of ${table}`}
            columns={[
              { key: "partition", head: "partition", number: true, cell: ([partition]) => partition },
              { key: "offset", head: "below offset", number: true, cell: ([, offset]) => whole(offset) },
            ]}
            rows={offsets}
            rowKey={([partition]) => partition}
            empty="It has no partitions."
          />
        </div>
      )}
    </div>
  );
}
