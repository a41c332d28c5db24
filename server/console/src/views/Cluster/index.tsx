// The nodes of the cluster, what each of them holds, and what they are doing.
import type { Known } from "../../api/types";
import { LoadFailure } from "../../components/ErrorBox";
import { Badge } from "../../components/Figures";
import { Page, Panel } from "../../components/Page";
import { Table, type TableColumn } from "../../components/Table";
import { UNKNOWN, bytes, counted, perSecond, whole } from "../../format";
import { useLoad } from "../../hooks";
import { instantOf } from "../../sqlTypes";
import "./cluster.css";
import { loadCluster, loadShares, type Node } from "./data";
import { holdings, type Holding, Placement } from "./Placement";
import { Ended, Running } from "./Queries";
import { Tasks } from "./Tasks";

const TONES: Record<string, "good" | "warn" | "bad" | "plain"> = { serving: "good", leaving: "warn", joining: "warn", starting: "warn", dead: "bad", unreachable: "bad" };

function uptime(started: string | null): string {
  const ms = Date.now() - instantOf(started);
  if (!Number.isFinite(ms)) return "";
  const minutes = Math.max(0, Math.floor(ms / 60_000));
  if (minutes < 120) return `${minutes} min`;
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`;
}

const SHARES_EVERY_MS = 10_000;

/** How much of something is taken, in figures and as a bar. */
function Taken({ part, whole: all, format, of }: { part: Known; whole: Known; format: (value: Known) => string; of: (value: Known) => string }) {
  if (part === null || part === undefined || all === null || all === undefined) return UNKNOWN;
  return (
    <span className="taken" title={`${format(part)} of ${of(all)}`}>
      {format(part)} <span className="unit">of {of(all)}</span>
      <progress aria-hidden="true" value={Math.min(Number(part), Number(all))} max={Number(all)} />
    </span>
  );
}

type Row = Node & { holding: Holding | undefined };

const COLUMNS: TableColumn<Row>[] = [
  {
    key: "node",
    head: "Node",
    cell: ({ node, this: isThis }) => (
      <span className="row">
        <strong>{node}</strong>
        {isThis && <Badge tone="accent">answers you</Badge>}
      </span>
    ),
  },
  { key: "state", head: "State", cell: ({ state }) => <Badge tone={TONES[state] ?? "plain"}>{state}</Badge> },
  { key: "role", head: "Role", cell: ({ role }) => role },
  { key: "zone", head: "Zone", cell: ({ zone }) => zone ?? "–" },
  { key: "weight", head: "Weight", number: true, cell: ({ weight }) => whole(weight) },
  { key: "cpu", head: "CPU", number: true, cell: ({ cpus_used, cpus }) => <Taken part={cpus_used} whole={cpus} format={(value) => Number(value).toFixed(1)} of={(value) => counted(value, "core")} /> },
  { key: "memory", head: "Memory", number: true, cell: ({ memory_bytes, memory_limit_bytes }) => <Taken part={memory_bytes} whole={memory_limit_bytes} format={bytes} of={bytes} /> },
  { key: "queries", head: "Queries", number: true, cell: ({ queries }) => whole(queries) },
  { key: "load", head: "Reads", number: true, cell: ({ holding }) => perSecond(holding?.rate ?? 0) },
  { key: "partitions", head: "Partitions", number: true, cell: ({ holding }) => whole(holding?.partitions.length ?? 0) },
  { key: "version", head: "Version", cell: ({ version }) => version ?? "–" },
  { key: "up", head: "Up", cell: ({ started_at }) => uptime(started_at) },
  { key: "address", head: "Address", cell: ({ address }) => address && <code>{address}</code> },
  { key: "error", head: "Error", cell: ({ error }) => error && <span className="fault-text">{error}</span> },
];

export default function Cluster() {
  const cluster = useLoad("cluster", loadCluster, 1000);
  // Sums over all segments there are: they move with each one that is sealed.
  const shares = useLoad("shares", loadShares, SHARES_EVERY_MS);
  const held = cluster.data ? holdings(cluster.data.nodes, cluster.data.partitions, shares.data ?? []) : [];
  const rows: Row[] = (cluster.data?.nodes ?? []).map((node) => ({ ...node, holding: held.find((one) => one.node === node.node) }));
  return (
    <Page title="Cluster" note={<span className="muted">{cluster.data && counted(cluster.data.nodes.length, "node")}</span>}>
      <LoadFailure error={cluster.error} />
      <LoadFailure error={shares.error} tone="warn" />
      {cluster.data && (
        <>
          <Panel title="Nodes">
            <Table label="Nodes" columns={COLUMNS} rows={rows} rowKey={({ node }) => node} />
          </Panel>
          <Placement holdings={held} />
        </>
      )}
      <Running />
      <Ended />
      <Tasks />
    </Page>
  );
}
