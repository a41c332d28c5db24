// The columns of a table and where their values come from.
import { Badge } from "../../components/Figures";
import { Table, type TableColumn } from "../../components/Table";
import type { SpecColumn, TableDocument } from "./data";

type Row = TableDocument["columns"][number] & { spec: SpecColumn | undefined };

/** What a spec says of a column's indexes, in words. */
function indexText(index: unknown): string {
  if (index === undefined || index === null) return "";
  if (Array.isArray(index)) return index.join(", ");
  if (typeof index === "object") return Object.entries(index).map(([kind, setting]) => (setting === true ? kind : `${kind}: ${JSON.stringify(setting)}`)).join(", ");
  return String(index);
}

export function Schema({ document }: { document: TableDocument }) {
  const { spec } = document;
  const rows: Row[] = document.columns.map((column) => ({ ...column, spec: spec.columns.find(({ name }) => name === column.name) }));
  const columns: TableColumn<Row>[] = [
    { key: "name", head: "Column", cell: ({ name }) => <code>{name}</code> },
    { key: "type", head: "Type", cell: ({ type }) => <code>{type}</code> },
    { key: "null", head: "NULL", cell: ({ nullable }) => (nullable ? "may be" : "never") },
    { key: "path", head: "From", cell: ({ name, spec }) => (spec ? <code>{spec.path ?? name}</code> : <span className="muted">the message itself</span>) },
    { key: "index", head: "Index", cell: ({ spec }) => indexText(spec?.index) || <span className="muted">by its values</span> },
    {
      key: "use",
      head: "Serves as",
      cell: ({ name }) => (
        <span className="row">
          {spec.time_column === name && <Badge tone="accent">time</Badge>}
          {(spec.sort_key ?? []).includes(name) && <Badge>{`sort key ${(spec.sort_key ?? []).indexOf(name) + 1}`}</Badge>}
        </span>
      ),
    },
  ];
  return (
    <section className="panel">
      <Table label={`Columns of ${document.name}`} columns={columns} rows={rows} rowKey={({ name }) => name} />
    </section>
  );
}
