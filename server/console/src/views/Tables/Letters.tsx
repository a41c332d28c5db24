// Messages that became no row, and offsets that are missing.
import { LoadFailure } from "../../components/ErrorBox";
import { Time, Whole } from "../../components/Figures";
import { Panel } from "../../components/Page";
import { Table, type TableColumn } from "../../components/Table";
import { IN_ZONE } from "../../format";
import { useLoad } from "../../hooks";
import { type Gap, type Letter, loadGaps, loadLetters, payloadText } from "./data";

const LETTERS: TableColumn<Letter>[] = [
  { key: "partition", head: "Partition", cell: ({ partition }) => partition },
  { key: "offset", head: "Offset", number: true, cell: ({ offset }) => <Whole value={offset} /> },
  { key: "time", head: "Time", cell: ({ timestamp }) => <Time value={timestamp} /> },
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
  { key: "at", head: "Recorded", cell: (gap) => <Time value={gap.recorded_at} /> },
];

export function Letters({ table }: { table: string }) {
  const letters = useLoad(`letters ${table}`, (signal) => loadLetters(table, signal), 5000);
  const gaps = useLoad(`gaps ${table}`, (signal) => loadGaps(table, signal), 5000);
  return (
    <>
      <LoadFailure error={letters.error} />
      <Panel title="Dead letters" note={`messages that do not fit the spec; the newest are kept with what they hold; ${IN_ZONE}`}>
        {letters.data && <Table label={`Dead letters of ${table}`} columns={LETTERS} rows={letters.data} rowKey={(one) => `${one.partition} ${one.offset}`} empty="None: every message became a row." />}
      </Panel>
      <Panel title="Gaps" note={`offsets that Kafka no longer had when the table wanted them; ${IN_ZONE}`}>
        <LoadFailure error={gaps.error} />
        {gaps.data && <Table label={`Gaps of ${table}`} columns={GAPS} rows={gaps.data} rowKey={(gap) => `${gap.partition} ${gap.from_offset}`} empty="None." />}
      </Panel>
    </>
  );
}
