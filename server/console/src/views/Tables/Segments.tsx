// The segments of a table: which times each one covers, and how large it is.
import { useMemo } from "react";
import { EmptyState } from "../../components/EmptyState";
import { LoadFailure } from "../../components/ErrorBox";
import { Badge, Bytes, Time, Whole } from "../../components/Figures";
import { Panel } from "../../components/Page";
import { Table, type TableColumn } from "../../components/Table";
import { bytes, counted, IN_ZONE, timeText, whole } from "../../format";
import { useLoad } from "../../hooks";
import { instantOf } from "../../sqlTypes";
import { loadSegments, type Segment, SEGMENTS_MAX } from "./data";

const LISTED = 200;

const COLUMNS: TableColumn<Segment>[] = [
  { key: "partition", head: "Partition", cell: ({ partition }) => partition },
  { key: "state", head: "State", cell: ({ state }) => <Badge tone={state === "sealed" ? "plain" : "accent"}>{state}</Badge> },
  { key: "offsets", head: "Offsets", cell: (one) => <span className="mono">{`${whole(one.from_offset)} – ${whole(one.to_offset)}`}</span> },
  { key: "rows", head: "Rows", number: true, cell: (one) => <Whole value={one.rows} /> },
  { key: "size", head: "Size", number: true, cell: (one) => <Bytes value={one.size_bytes} /> },
  { key: "indexes", head: "Of it indexes", number: true, cell: (one) => <Bytes value={one.index_bytes} /> },
  { key: "from", head: "First time", cell: (one) => <Time value={one.min_time} /> },
  { key: "to", head: "Last time", cell: (one) => <Time value={one.max_time} /> },
  { key: "sealed", head: "Sealed", cell: (one) => <Time value={one.sealed_at} /> },
  { key: "id", head: "Id", cell: (one) => <code title={one.path ?? undefined}>{one.id}</code> },
];

export function Segments({ table }: { table: string }) {
  const segments = useLoad(`segments ${table}`, (signal) => loadSegments(table, signal), 3000);
  const rows = segments.data;
  return (
    <>
      <LoadFailure error={segments.error} />
      {rows?.length === 0 && (
        <div className="panel">
          <EmptyState title="No segments yet">A segment is written when enough rows are read, or when you seal the table.</EmptyState>
        </div>
      )}
      {rows && rows.length > 0 && (
        <>
          <Timeline segments={rows} />
          <Panel title="Segments" note={`${rows.length > LISTED ? `the newest ${LISTED} of ${rows.length === SEGMENTS_MAX ? `${SEGMENTS_MAX} or more` : rows.length}` : counted(rows.length, "segment")}; ${IN_ZONE}`}>
            <Table label={`Segments of ${table}`} columns={COLUMNS} rows={rows.slice(0, LISTED)} rowKey={(one) => `${one.partition} ${one.from_offset} ${one.id}`} />
          </Panel>
        </>
      )}
    </>
  );
}

/** A lane for each partition, a bar for each segment from its first time to its last; the fuller, the larger. */
function Timeline({ segments }: { segments: Segment[] }) {
  const { lanes, first, last, largest } = useMemo(() => {
    const timed = segments.map((one) => ({ one, from: instantOf(one.min_time), to: instantOf(one.max_time) })).filter(({ from, to }) => Number.isFinite(from) && Number.isFinite(to));
    const numbers = [...new Set(timed.map(({ one }) => one.partition))].sort((a, b) => a - b);
    return {
      lanes: numbers.map((partition) => ({ partition, bars: timed.filter(({ one }) => one.partition === partition) })),
      first: Math.min(...timed.map(({ from }) => from)),
      last: Math.max(...timed.map(({ to }) => to)),
      largest: Math.max(1, ...timed.map(({ one }) => Number(one.size_bytes ?? 0))),
    };
  }, [segments]);
  if (lanes.length === 0) return null;
  const span = Math.max(1, last - first);
  const percent = (instant: number) => ((instant - first) / span) * 100;
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => timeText(first + part * span));
  return (
    <Panel title="Timeline" note={`from the first to the last time of each segment; the darker, the larger; ${IN_ZONE}`}>
      <div className="timeline" role="img" aria-label={`${counted(segments.length, "segment")} from ${ticks[0]} to ${ticks[4]}`}>
        {lanes.map(({ partition, bars }) => (
          <div key={partition} className="lane">
            <span className="lane-name">{partition}</span>
            <div className="lane-bars">
              {bars.map(({ one, from, to }) => (
                <span
                  key={`${one.from_offset} ${one.id}`}
                  className={`bar ${one.state === "sealed" ? "" : "open"}`}
                  style={{ left: `${percent(from)}%`, width: `max(3px, ${percent(to) - percent(from)}%)`, opacity: 0.35 + 0.6 * Math.sqrt(Number(one.size_bytes ?? 0) / largest) }}
                  title={`${one.state}, offsets ${whole(one.from_offset)} to ${whole(one.to_offset)}\n${whole(one.rows)} rows, ${bytes(one.size_bytes)}\n${timeText(one.min_time)} to ${timeText(one.max_time)}`}
                />
              ))}
            </div>
          </div>
        ))}
        <div className="lane ticks">
          <span className="lane-name" />
          <div className="lane-ticks">
            {ticks.map((tick, i) => (
              <span key={i}>{tick.slice(span < 86_400_000 ? 11 : 0)}</span>
            ))}
          </div>
        </div>
      </div>
    </Panel>
  );
}
