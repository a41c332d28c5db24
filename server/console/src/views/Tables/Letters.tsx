// Messages that became no row, and offsets that are missing.
import { errorDetails } from "../../api/client";
import { ErrorBox } from "../../components/ErrorBox";
import { Whole } from "../../components/Figures";
import { Table, type TableColumn } from "../../components/Table";
import { useLoad } from "../../hooks";
import { type Gap, type Letter, loadGaps, loadLetters, payloadText } from "./data";

const time = (text: string | null) => text?.slice(0, 23).replace("T", " ") ?? "";

const LETTERS: TableColumn<Letter>[] = [
  { key: "partition", head: "Partition", cell: ({ partition }) => partition },
  { key: "offset", head: "Offset", number: true, cell: ({ offset }) => <Whole value={offset} /> },
  { key: "time", head: "Time", cell: ({ timestamp }) => time(timestamp) },
  { key: "reason", head: "Reason", cell: ({ reason }) => <span className="wraps">{reason}</span> },
  {
    key: "payload",
    head: "Message",
    cell: ({ payload, truncated }) => {
      const text = payloadText(payload);
      return (
        <code className="payload" title={text}>
          {text}
          {truncated && "…"}
        </code>
      );
    },
  },
];

const GAPS: TableColumn<Gap>[] = [
  { key: "partition", head: "Partition", cell: ({ partition }) => partition },
  { key: "from", head: "From offset", number: true, cell: (gap) => <Whole value={gap.from_offset} /> },
  { key: "to", head: "To offset", number: true, cell: (gap) => <Whole value={gap.to_offset} /> },
  { key: "reason", head: "Reason", cell: ({ reason }) => reason },
  { key: "at", head: "Recorded", cell: (gap) => time(gap.recorded_at) },
];

export function Letters({ table }: { table: string }) {
  const letters = useLoad(`letters ${table}`, (signal) => loadLetters(table, signal), 5000);
  const gaps = useLoad(`gaps ${table}`, (signal) => loadGaps(table, signal), 5000);
  return (
    <>
      {letters.error !== null && <ErrorBox error={errorDetails(letters.error)} />}
      <section className="panel">
        <div className="panel-head">
          <h3>Dead letters</h3>
          <span className="muted small">messages that do not fit the spec; the newest are kept with what they hold</span>
        </div>
        {letters.data && <Table label={`Dead letters of ${table}`} columns={LETTERS} rows={letters.data} rowKey={(one) => `${one.partition} ${one.offset}`} empty="None: every message became a row." />}
      </section>
      <section className="panel">
        <div className="panel-head">
          <h3>Gaps</h3>
          <span className="muted small">offsets that Kafka no longer had when the table wanted them</span>
        </div>
        {gaps.error !== null && <ErrorBox error={errorDetails(gaps.error)} />}
        {gaps.data && <Table label={`Gaps of ${table}`} columns={GAPS} rows={gaps.data} rowKey={(gap) => `${gap.partition} ${gap.from_offset}`} empty="None." />}
      </section>
    </>
  );
}
