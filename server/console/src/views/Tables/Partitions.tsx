// The partitions of a table: how far each is, and what can be done to it.
import { useState } from "react";
import type { Partition } from "../../api/types";
import { Confirm } from "../../components/Confirm";
import { Duration, Whole } from "../../components/Figures";
import { Menu } from "../../components/Menu";
import { Panel } from "../../components/Page";
import { Table, type TableColumn } from "../../components/Table";
import { toast } from "../../components/Toast";
import { counted, perSecond } from "../../format";
import { pause, resume, seal } from "./data";
import { State } from "./State";
import { act } from "./TablePage";

interface PartitionsProps {
  table: string;
  partitions: Partition[];
  mayChange: boolean;
  onChanged(): void;
}

export function Partitions({ table, partitions, mayChange, onChanged }: PartitionsProps) {
  const [pausing, setPausing] = useState<number | null>(null);
  const inCluster = partitions.some(({ node }) => node !== null);
  const columns: TableColumn<Partition>[] = [
    { key: "partition", head: "Partition", cell: ({ partition }) => partition },
    { key: "state", head: "State", cell: ({ state }) => <State state={state} /> },
    ...(inCluster ? [{ key: "node", head: "Node", cell: ({ node }: Partition) => node ?? "" }] : []),
    { key: "committed", head: "Committed", number: true, cell: (one) => <Whole value={one.committed_offset} /> },
    { key: "visible", head: "Visible", number: true, cell: (one) => <Whole value={one.visible_offset} /> },
    { key: "latest", head: "Latest in Kafka", number: true, cell: (one) => <Whole value={one.latest_offset} /> },
    { key: "lag", head: "Lag", number: true, cell: (one) => <Whole value={one.lag} /> },
    { key: "rate", head: "Rate", number: true, cell: (one) => perSecond(one.rows_per_second) },
    { key: "freshness", head: "Freshness", number: true, cell: (one) => <Duration ms={one.freshness_ms} /> },
    { key: "letters", head: "Dead letters", number: true, cell: (one) => <Whole value={one.dead_letters} /> },
    { key: "error", head: "Last error", cell: ({ last_error }) => last_error && <span className="wraps last-error">{last_error}</span> },
  ];
  if (mayChange) {
    columns.push({
      key: "actions",
      head: <span className="visually-hidden">Actions</span>,
      cell: ({ partition, state }) => (
        <Menu
          label="⋯"
          ariaLabel={`Actions of partition ${partition}`}
          items={[
            state === "paused"
              ? { label: "Resume", onSelect: () => void act(() => resume(table, partition), () => `Partition ${partition} goes on.`).then(onChanged) }
              : { label: "Pause…", onSelect: () => setPausing(partition) },
            {
              label: "Seal",
              onSelect: () => void act(() => seal(table, partition), (answer) => `${counted((answer as { segments: unknown[] }).segments.length, "segment")} sealed.`),
            },
          ]}
        />
      ),
    });
  }
  return (
    <Panel title="Partitions" className="partitions">
      <Table label={`Partitions of ${table}`} columns={columns} rows={partitions} rowKey={({ partition }) => String(partition)} empty="The topic was not looked at yet." />
      {pausing !== null && (
        <Confirm
          title={`Pause partition ${pausing} of ${table}`}
          action="Pause"
          onClose={() => setPausing(null)}
          onConfirm={async () => {
            await pause(table, pausing);
            toast(`Partition ${pausing} is paused.`);
            setPausing(null);
            onChanged();
          }}
        >
          <p>It is not read any more until it is resumed, so queries miss what comes after. Messages that Kafka deletes meanwhile are lost to the table.</p>
        </Confirm>
      )}
    </Panel>
  );
}
