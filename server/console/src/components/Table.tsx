// A small table: every row is in the document. For answers of queries there is DataGrid.
import type { ReactNode } from "react";

export interface TableColumn<Row> {
  key: string;
  head: ReactNode;
  cell(row: Row): ReactNode;
  number?: boolean;
}

interface TableProps<Row> {
  columns: TableColumn<Row>[];
  rows: Row[];
  rowKey(row: Row): string;
  /** What the table holds, for those who do not see it. */
  label: string;
  empty?: ReactNode;
}

export function Table<Row>({ columns, rows, rowKey, label, empty }: TableProps<Row>) {
  if (rows.length === 0 && empty !== undefined) return <p className="muted panel-body">{empty}</p>;
  return (
    // A region that scrolls must be reachable by keyboard.
    <div className="table-scroll" tabIndex={0} role="region" aria-label={label}>
      <table className="table">
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.key} scope="col" className={column.number ? "number" : undefined}>
                {column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)}>
              {columns.map((column) => (
                <td key={column.key} className={column.number ? "number" : undefined}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
