// Which node has which share of the partitions and of the sealed data.
import type { Partition } from "../../api/types";
import { EmptyState } from "../../components/EmptyState";
import { Panel } from "../../components/Page";
import { bytes, counted, whole } from "../../format";
import { Link } from "../../router";
import type { Node, Share } from "./data";

export interface Holding {
  node: string;
  partitions: Partition[];
  shares: Share[];
  rate: number;
  bytes: number;
  segments: number;
}

/** What each node holds. A server that is alone names no node in its rows: they are its own. */
export function holdings(nodes: Node[], partitions: Partition[], shares: Share[]): Holding[] {
  const alone = nodes.find((node) => node.this)?.node ?? nodes[0]?.node;
  return nodes.map(({ node }) => {
    const mine = <Row extends { node: string | null }>(rows: Row[]) => rows.filter((row) => (row.node ?? alone) === node);
    const held = mine(partitions).filter(({ state }) => state !== "elsewhere");
    const stored = mine(shares);
    const sum = (values: (number | string | null)[]) => values.reduce<number>((total, value) => total + Number(value ?? 0), 0);
    return { node, partitions: held, shares: stored, rate: sum(held.map((one) => one.rows_per_second)), bytes: sum(stored.map((one) => one.size_bytes)), segments: sum(stored.map((one) => one.segments)) };
  });
}

const COLOURS = 8;

export function Placement({ holdings: held }: { holdings: Holding[] }) {
  const tables = [...new Set(held.flatMap((one) => [...one.partitions, ...one.shares].map((row) => row.table_name)))].sort();
  const colour = (table: string) => `var(--series-${(tables.indexOf(table) % COLOURS) + 1})`;
  const most = Math.max(1, ...held.map((one) => one.bytes));
  return (
    <Panel
      title="Placement"
      tools={
        <span className="legend">
          {tables.map((table) => (
            <Link key={table} href={`/tables/${encodeURIComponent(table)}`}>
              <i style={{ background: colour(table) }} />
              {table}
            </Link>
          ))}
        </span>
      }
    >
      {tables.length === 0 && <EmptyState title="Nothing to place yet">Partitions and segments appear here as soon as there is a table.</EmptyState>}
      {tables.length > 0 && (
        <ul className="placement" aria-label="What each node holds">
          {held.map(({ node, partitions, shares, bytes: size, segments }) => (
            <li key={node} className="place">
              <strong title={node}>{node}</strong>
              <div className="chips">
                {partitions.length === 0 && <span className="muted small">no partitions</span>}
                {partitions.map((one) => (
                  <span key={`${one.table_name} ${one.partition}`} className={`chip ${one.state}`} style={{ borderColor: colour(one.table_name) }} title={`${one.table_name}, partition ${one.partition}: ${one.state.replaceAll("_", " ")}, lag ${whole(one.lag)}`}>
                    {one.partition}
                  </span>
                ))}
              </div>
              <div className="share" role="img" aria-label={`${node}: ${counted(segments, "segment")}, ${bytes(size)}`}>
                {shares.map((share) => (
                  <span key={share.table_name} style={{ width: `${(Number(share.size_bytes ?? 0) / most) * 100}%`, background: colour(share.table_name) }} title={`${share.table_name}: ${counted(share.segments, "segment")}, ${bytes(share.size_bytes)}`} />
                ))}
              </div>
              <span className="muted small share-text">
                {counted(segments, "segment")}, {bytes(size)}
              </span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
