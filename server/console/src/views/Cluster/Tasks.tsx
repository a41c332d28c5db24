// What the nodes do in the background.
import { LoadFailure } from "../../components/ErrorBox";
import { Badge, Time } from "../../components/Figures";
import { Panel } from "../../components/Page";
import { Table, type TableColumn } from "../../components/Table";
import { IN_ZONE, whole } from "../../format";
import { useLoad } from "../../hooks";
import { loadTasks, type Task } from "./data";

const TONES: Record<string, "good" | "warn" | "bad" | "accent" | "plain"> = { running: "accent", done: "plain", failed: "bad", retrying: "warn", waiting: "warn" };

const COLUMNS: TableColumn<Task>[] = [
  { key: "kind", head: "Task", cell: ({ kind }) => kind.replaceAll("_", " ") },
  { key: "table", head: "Table", cell: ({ table_name }) => table_name ?? "–" },
  { key: "subject", head: "Of", cell: ({ subject }) => <span className="cut" title={subject}>{subject}</span> },
  { key: "state", head: "State", cell: ({ state }) => <Badge tone={TONES[state] ?? "plain"}>{state}</Badge> },
  {
    key: "progress",
    head: "Progress",
    cell: ({ kind, done, total, unit }) => {
      const [now, all] = [Number(done ?? 0), Number(total ?? 0)];
      return (
        <span className="row">
          {all > 0 && <progress value={now} max={all} aria-label={`Progress of ${kind.replaceAll("_", " ")}`} />}
          <span className="muted">{all > 0 ? `${whole(now)} of ${whole(all)} ${unit ?? ""}` : ""}</span>
        </span>
      );
    },
  },
  { key: "started", head: "Started", cell: (task) => <Time value={task.started_at} /> },
  { key: "ended", head: "Ended", cell: (task) => <Time value={task.ended_at} /> },
  { key: "next", head: "Next", cell: (task) => <Time value={task.next_attempt_at} /> },
  { key: "error", head: "Last error", cell: ({ last_error }) => last_error && <span className="fault-text">{last_error}</span> },
];

export function Tasks() {
  const tasks = useLoad("tasks", loadTasks, 1500);
  const inCluster = tasks.data?.some(({ node }) => node !== null);
  const columns = inCluster ? [{ key: "node", head: "Node", cell: ({ node }: Task) => node ?? "" }, ...COLUMNS] : COLUMNS;
  return (
    <Panel title="Background tasks" note={`what runs first, then the last that ended; ${IN_ZONE}`} className="tall">
      <LoadFailure error={tasks.error} />
      {tasks.data && <Table label="Background tasks" columns={columns} rows={tasks.data} rowKey={(task) => `${task.node} ${task.table_name} ${task.kind} ${task.subject} ${task.started_at}`} empty="Nothing runs, and nothing ran yet." />}
    </Panel>
  );
}
