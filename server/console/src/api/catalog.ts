// The tables that there are, and their columns.
import { rowsOf } from "./client";

export interface CatalogColumn {
  name: string;
  type: string;
}

export interface CatalogTable {
  schema: string;
  name: string;
  columns: CatalogColumn[];
}

const COLUMNS =
  "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns ORDER BY table_schema, table_name, ordinal_position";

/** Arrow's names of types, which information_schema has, as SQL's. */
function sqlTypeName(arrow: string): string {
  const decimal = /^Decimal\d+\((\d+), (\d+)\)/.exec(arrow);
  if (decimal) return `DECIMAL(${decimal[1]},${decimal[2]})`;
  if (/^Timestamp/.test(arrow)) return "TIMESTAMP";
  const list = /^(?:Large)?List\((?:nullable )?([A-Z]\w*(?:\([^)]*\))?)/.exec(arrow);
  if (list) return `ARRAY<${sqlTypeName(list[1] ?? "")}>`;
  const plain: Record<string, string> = { Utf8: "STRING", Utf8View: "STRING", LargeUtf8: "STRING", Int32: "INT", Int64: "LONG", UInt64: "UNSIGNED LONG", Float64: "DOUBLE", Float32: "FLOAT", Boolean: "BOOLEAN", Binary: "BYTES", BinaryView: "BYTES", Date32: "DATE" };
  return plain[arrow] ?? arrow.replace(/\(.*/, "").toUpperCase();
}

/** Tables of users first, then those of the system; information_schema's own are left out. */
export async function loadCatalog(signal?: AbortSignal): Promise<CatalogTable[]> {
  const rows = await rowsOf<{ table_schema: string; table_name: string; column_name: string; data_type: string }>(COLUMNS, signal);
  const tables = new Map<string, CatalogTable>();
  for (const row of rows) {
    if (row.table_schema === "information_schema" || row.table_schema === "pg_catalog") continue;
    const key = `${row.table_schema}.${row.table_name}`;
    const table = tables.get(key) ?? { schema: row.table_schema, name: row.table_name, columns: [] };
    table.columns.push({ name: row.column_name, type: sqlTypeName(row.data_type) });
    tables.set(key, table);
  }
  const rank = (table: CatalogTable) => (table.schema === "public" ? 0 : 1);
  return [...tables.values()].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
}
