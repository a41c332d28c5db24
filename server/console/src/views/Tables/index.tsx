// The tables of the server, and one of them.
import { useState } from "react";
import { isAdministrator, useSession } from "../../api/session";
import { Button } from "../../components/Button";
import { EmptyState } from "../../components/EmptyState";
import { LoadFailure } from "../../components/ErrorBox";
import { Badge, Bytes, Duration, Whole } from "../../components/Figures";
import { Icon } from "../../components/Icon";
import { Page } from "../../components/Page";
import { Table, type TableColumn } from "../../components/Table";
import { perSecond } from "../../format";
import { useLoad } from "../../hooks";
import { Link } from "../../router";
import { loadSizes, loadTables, type Overview, type Size, SIZES_EVERY_MS, sizeOf, totals } from "./data";
import { State } from "./State";
import { TablePage } from "./TablePage";
import "./tables.css";
import { Wizard } from "./Wizard";

export default function Tables({ table }: { table?: string }) {
  return table === undefined ? <TableList /> : <TablePage table={table} />;
}

type Row = Overview & { size: Size | undefined };

const COLUMNS: TableColumn<Row>[] = [
  { key: "name", head: "Table", cell: ({ name }) => <Link href={`/tables/${encodeURIComponent(name)}`}>{name}</Link> },
  { key: "state", head: "State", cell: ({ partitions }) => <State state={totals(partitions).state} /> },
  { key: "rows", head: "Rows", number: true, cell: ({ rows, size }) => <Whole value={rows ?? size?.rows} /> },
  { key: "size", head: "Size", number: true, cell: ({ size }) => <Bytes value={size?.size_bytes} /> },
  { key: "segments", head: "Segments", number: true, cell: ({ size }) => <Whole value={size?.segments} /> },
  { key: "partitions", head: "Partitions", number: true, cell: ({ partitions }) => partitions.length },
  { key: "rate", head: "Rate", number: true, cell: ({ partitions }) => perSecond(totals(partitions).rate) },
  { key: "lag", head: "Lag", number: true, cell: ({ partitions }) => <Whole value={totals(partitions).lag} /> },
  { key: "freshness", head: "Freshness", number: true, cell: ({ partitions }) => <Duration ms={totals(partitions).freshness} /> },
  {
    key: "letters",
    head: "Dead letters",
    number: true,
    cell: ({ partitions }) => {
      const { letters } = totals(partitions);
      return letters > 0 ? <Badge tone="warn">{letters.toLocaleString("en-US")}</Badge> : "0";
    },
  },
];

function TableList() {
  const [wizard, setWizard] = useState(false);
  const mayChange = isAdministrator(useSession());
  const tables = useLoad("tables", loadTables, 1500);
  const sizes = useLoad("sizes", loadSizes, SIZES_EVERY_MS);
  const rows = tables.data?.map((table): Row => ({ ...table, size: sizes.data && sizeOf(sizes.data, table.name) }));
  if (wizard) return <Wizard onClose={() => setWizard(false)} />;
  const create = mayChange && (
    <Button kind="primary" onClick={() => setWizard(true)}>
      <Icon name="plus" />
      Table from a topic
    </Button>
  );
  return (
    <Page title="Tables" tools={(tables.data?.length ?? 0) > 0 && create}>
      <LoadFailure error={tables.error} />
      <LoadFailure error={sizes.error} tone="warn" />
      {tables.data?.length === 0 && (
        <div className="panel">
          <EmptyState title="No table yet" action={create}>
            <p>A table reads a Kafka topic. Name one, and what its messages hold becomes the columns; you can look at the rows before anything is made.</p>
          </EmptyState>
        </div>
      )}
      {rows && rows.length > 0 && (
        <div className="panel">
          <Table label="Tables" columns={COLUMNS} rows={rows} rowKey={({ name }) => name} />
        </div>
      )}
    </Page>
  );
}
