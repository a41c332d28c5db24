// Queries that run, with a way to end them, and those that have ended.
import { useMemo, useState } from "react";
import { cancelQuery, errorDetails } from "../../api/client";
import { mayEnd, useSession } from "../../api/session";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { ErrorBox, LoadFailure } from "../../components/ErrorBox";
import { Badge, Duration, Time, Whole } from "../../components/Figures";
import { Panel } from "../../components/Page";
import { Table, type TableColumn } from "../../components/Table";
import { Tabs } from "../../components/Tabs";
import { toast } from "../../components/Toast";
import { compact, IN_ZONE, whole } from "../../format";
import { useLoad } from "../../hooks";
import { parsePlan } from "../../plan/parse";
import { PlanPicture } from "../../plan/PlanPicture";
import { type EndedQuery, loadEnded, loadPlan, loadRunning, type Underway } from "./data";

const PLAN_EVERY_MS = 1500;

const oneLine = (sql: string) => sql.replace(/\s+/g, " ").trim();

function Statement({ sql }: { sql: string }) {
  return (
    <code className="cut statement" title={sql}>
      {oneLine(sql)}
    </code>
  );
}

async function kill(id: string) {
  try {
    await cancelQuery(id);
    toast("The query was told to end.");
  } catch (error) {
    toast(errorDetails(error).message, "bad");
  }
}

function HowFar({ query: { id, progress } }: { query: Underway }) {
  if (!progress) return "–";
  const { segments_done: done, segments_total: all, rows_scanned: rows } = progress;
  return (
    <span className="row">
      {all > 0 && <progress value={done} max={all} aria-label={`Progress of query ${id}`} />}
      <span className="muted">{progress.state === "queued" ? "waits for its turn" : `${all > 0 ? `${whole(done)} of ${whole(all)} segments, ` : ""}${compact(rows)} rows read`}</span>
    </span>
  );
}

/** A plan as a picture, or as the text that it is if it cannot be drawn. */
function PlanOf({ text }: { text: string }) {
  const plan = useMemo(() => parsePlan([["Plan with Metrics", text]]), [text]);
  return plan ? (
    <div className="query-plan">
      <PlanPicture plan={plan} />
    </div>
  ) : (
    <pre tabIndex={0}>{text}</pre>
  );
}

/** What the operators of a query that runs have done so far; what was seen last stays when it ends. */
function RunningPlan({ query, onClose }: { query: Underway; onClose(): void }) {
  const [seen, setSeen] = useState<string | null>(null);
  const plan = useLoad(
    `plan ${query.id}`,
    async (signal) => {
      const text = await loadPlan(query.id, signal);
      if (text !== null) setSeen(text);
      return text;
    },
    PLAN_EVERY_MS,
  );
  const isOver = plan.data === null && seen !== null;
  return (
    <Dialog title={`Query ${query.id}`} onClose={onClose} wide>
      <div className="query-more">
        <pre tabIndex={0}>{query.sql}</pre>
        <LoadFailure error={plan.error} />
        {isOver && <p className="muted">It has ended; this is what was seen of it last.</p>}
        {seen === null ? !plan.loading && <p className="muted">It has no plan, or has ended.</p> : <PlanOf text={seen} />}
      </div>
    </Dialog>
  );
}

export function Running() {
  const running = useLoad("running", loadRunning, 1000);
  const session = useSession();
  const [open, setOpen] = useState<Underway | null>(null);
  const columns: TableColumn<Underway>[] = [
    { key: "sql", head: "Statement", cell: ({ sql }) => <Statement sql={sql} /> },
    { key: "user", head: "User", cell: ({ user_name }) => user_name ?? "–" },
    { key: "node", head: "Node", cell: ({ node }) => node ?? "–" },
    { key: "elapsed", head: "Runs for", number: true, cell: ({ elapsed_ms }) => <Duration ms={elapsed_ms} /> },
    { key: "progress", head: "Progress", cell: (query) => <HowFar query={query} /> },
    { key: "rows", head: "Rows sent", number: true, cell: ({ rows_returned }) => <Whole value={rows_returned} /> },
    { key: "id", head: "Id", cell: ({ id }) => <code>{id}</code> },
    {
      key: "act",
      head: <span className="visually-hidden">Plan, and its end</span>,
      cell: (query) => (
        <span className="row">
          <Button kind="quiet" aria-label={`Plan of query ${query.id}`} onClick={() => setOpen(query)}>
            Plan
          </Button>
          {mayEnd(session, query.user_name) && (
            <Button kind="danger" aria-label={`Kill query ${query.id}`} onClick={() => void kill(query.id)}>
              Kill
            </Button>
          )}
        </span>
      ),
    },
  ];
  return (
    <Panel title="Running queries">
      <LoadFailure error={running.error} />
      {running.data && <Table label="Running queries" columns={columns} rows={running.data} rowKey={({ id, node }) => `${node} ${id}`} empty="No query runs right now." />}
      {open && <RunningPlan query={open} onClose={() => setOpen(null)} />}
    </Panel>
  );
}

export function Ended() {
  const [order, setOrder] = useState<"recent" | "slow">("recent");
  const [open, setOpen] = useState<EndedQuery | null>(null);
  const ended = useLoad(`ended ${order}`, (signal) => loadEnded(order, signal), 3000);
  if (ended.data === null || (ended.data === undefined && ended.error === null && order === "recent")) return null;
  const columns: TableColumn<EndedQuery>[] = [
    { key: "sql", head: "Statement", cell: ({ sql }) => <Statement sql={sql} /> },
    { key: "state", head: "State", cell: ({ state }) => <Badge tone={state === "failed" ? "bad" : state === "cancelled" ? "warn" : "plain"}>{state}</Badge> },
    { key: "took", head: "Took", number: true, cell: ({ duration_ms }) => <Duration ms={duration_ms} /> },
    { key: "rows", head: "Rows", number: true, cell: ({ rows_returned }) => <Whole value={rows_returned} /> },
    { key: "scanned", head: "Scanned", number: true, cell: ({ rows_scanned }) => <Whole value={rows_scanned} /> },
    { key: "who", head: "Client", cell: ({ user_name, client }) => [user_name, client].filter(Boolean).join(", ") },
    { key: "started", head: "Started", cell: ({ started_at }) => <Time value={started_at} /> },
    {
      key: "more",
      head: <span className="visually-hidden">More</span>,
      cell: (query) => (
        <Button kind="quiet" aria-label={`More about query ${query.id}`} onClick={() => setOpen(query)}>
          {query.plan ? "Plan" : "More"}
        </Button>
      ),
    },
  ];
  return (
    <Panel
      title="Ended queries"
      note={IN_ZONE}
      className="tall"
      tools={<Tabs<"recent" | "slow"> items={[{ key: "recent", label: "Newest" }, { key: "slow", label: "Slowest" }]} selected={order} onSelect={setOrder} label="Order of ended queries" />}
    >
      <LoadFailure error={ended.error} />
      {ended.data && <Table label="Ended queries" columns={columns} rows={ended.data} rowKey={({ id }) => id} empty="No query has ended yet." />}
      {open && (
        <Dialog title={`Query ${open.id}`} onClose={() => setOpen(null)} wide>
          <div className="query-more">
            <pre tabIndex={0}>{open.sql}</pre>
            {open.error && <ErrorBox error={{ kind: open.state, message: open.error }} />}
            {open.plan ? <PlanOf text={open.plan} /> : <p className="muted">Plans are kept of slow queries only.</p>}
          </div>
        </Dialog>
      )}
    </Panel>
  );
}
