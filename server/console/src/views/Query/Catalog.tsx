// Tables and their columns beside the editor. A click puts the name at the cursor.
import { useState } from "react";
import type { CatalogTable } from "../../api/catalog";
import { quoted } from "../../api/names";
import { Icon } from "../../components/Icon";
import { Link } from "../../router";

interface CatalogProps {
  tables: CatalogTable[] | undefined;
  onInsert(text: string): void;
  onSample(sql: string): void;
}

export function Catalog({ tables, onInsert, onSample }: CatalogProps) {
  const own = tables?.filter((table) => table.schema === "public") ?? [];
  const system = tables?.filter((table) => table.schema !== "public") ?? [];
  return (
    <nav className="catalog" aria-label="Tables and columns">
      <h2>Tables</h2>
      {tables && own.length === 0 && (
        <p className="muted small">
          There are no tables yet. <Link href="/tables">Make one from a topic.</Link>
        </p>
      )}
      {own.map((table, i) => (
        <TableEntry key={table.name} table={table} first={i === 0} onInsert={onInsert} onSample={onSample} />
      ))}
      {system.length > 0 && <h2>System</h2>}
      {system.map((table) => (
        <TableEntry key={`${table.schema}.${table.name}`} table={table} first={false} onInsert={onInsert} onSample={onSample} />
      ))}
    </nav>
  );
}

function TableEntry({ table, first, onInsert, onSample }: { table: CatalogTable; first: boolean; onInsert(text: string): void; onSample(sql: string): void }) {
  const [open, setOpen] = useState(first);
  const name = table.schema === "public" ? quoted(table.name) : `${table.schema}.${quoted(table.name)}`;
  return (
    <div className="catalog-table">
      <div className="catalog-head">
        <button type="button" className="catalog-toggle" aria-expanded={open} title={name} onClick={() => setOpen(!open)}>
          <span className={`turn ${open ? "open" : ""}`}>
            <Icon name="chevron" />
          </span>
          <span className="name">{table.name}</span>
        </button>
        <button type="button" className="catalog-sample" aria-label={`Show rows of ${name}`} title="Show some rows" onClick={() => onSample(`SELECT *\nFROM ${name}\nLIMIT 100`)}>
          <Icon name="table" />
        </button>
      </div>
      {open && (
        <ul>
          {table.columns.map((column) => (
            <li key={column.name}>
              <button type="button" title={`Put ${column.name} at the cursor`} onClick={() => onInsert(quoted(column.name))}>
                <span>{column.name}</span>
                <span className="type">{column.type}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
