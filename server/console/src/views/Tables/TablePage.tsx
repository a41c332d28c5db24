// One table: how it moves, what is in it, and what can be done with it.
import { type ReactNode, useEffect, useState } from "react";
import { ApiError, errorDetails } from "../../api/client";
import { quoted } from "../../api/names";
import { isAdministrator, useSession } from "../../api/session";
import { Button } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { EmptyState } from "../../components/EmptyState";
import { ErrorBox, LoadFailure } from "../../components/ErrorBox";
import { Bytes, Duration, Figure, Figures, Whole } from "../../components/Figures";
import { Icon } from "../../components/Icon";
import { Page } from "../../components/Page";
import { Tabs } from "../../components/Tabs";
import { toast } from "../../components/Toast";
import { counted, perSecond } from "../../format";
import { useLoad } from "../../hooks";
import { Link, navigate } from "../../router";
import { drop, loadCount, loadPartitions, loadSize, loadTable, pause, queryLink, resume, seal, SIZES_EVERY_MS, totals } from "./data";
import { Letters } from "./Letters";
import { LiveCharts } from "./Live";
import { NewDashboard } from "./NewDashboard";
import { Partitions } from "./Partitions";
import { Rows } from "./Rows";
import { Schema } from "./Schema";
import { Segments } from "./Segments";
import { SpecTab } from "./SpecTab";
import { State } from "./State";

const TABS = [
  { key: "overview", label: "Overview" },
  { key: "rows", label: "Rows" },
  { key: "schema", label: "Schema" },
  { key: "segments", label: "Segments" },
  { key: "letters", label: "Dead letters and gaps" },
  { key: "spec", label: "Spec" },
] as const;
type TabKey = (typeof TABS)[number]["key"];

/** Behind the address of a table that was made just now. */
export const MADE = "#made";

const tabOfAddress = (): TabKey => TABS.find(({ key }) => key === location.hash.slice(1))?.key ?? "overview";

/** Does something to a table and says how it went. */
export async function act(what: () => Promise<unknown>, done: (answer: unknown) => string): Promise<void> {
  try {
    toast(done(await what()));
  } catch (error) {
    toast(errorDetails(error).message, "bad");
  }
}

export function TablePage({ table }: { table: string }) {
  const [tab, setTab] = useState<TabKey>(tabOfAddress);
  const [isMade, setMade] = useState(location.hash === MADE);
  const [proposing, setProposing] = useState(false);
  const mayChange = isAdministrator(useSession());
  const document = useLoad(`table ${table}`, (signal) => loadTable(table, signal));
  const partitions = useLoad(`partitions ${table}`, (signal) => loadPartitions(table, signal), 1000);
  const count = useLoad(`count ${table}`, (signal) => loadCount(table, signal), 2000);
  const size = useLoad(`size ${table}`, (signal) => loadSize(table, signal), SIZES_EVERY_MS);
  useEffect(() => {
    if (location.hash === MADE) history.replaceState(null, "", location.pathname);
  }, []);
  const show = (key: TabKey) => {
    setTab(key);
    history.replaceState(null, "", `${location.pathname}#${key}`);
  };
  if (document.error instanceof ApiError && document.error.status === 404) {
    return (
      <EmptyState title={`There is no table ${table}`} action={<Link href="/tables">All tables</Link>}>
        It was dropped, or its name is written in another way.
      </EmptyState>
    );
  }
  const parts = partitions.data ?? [];
  const sum = totals(parts);
  const content: Record<TabKey, () => ReactNode> = {
    overview: () => (
      <>
        <LiveCharts table={table} partitions={parts} />
        <Partitions table={table} partitions={parts} mayChange={mayChange} onChanged={partitions.reload} />
      </>
    ),
    rows: () => document.data && <Rows document={document.data} />,
    schema: () => document.data && <Schema document={document.data} />,
    segments: () => <Segments table={table} />,
    letters: () => <Letters table={table} />,
    spec: () => document.data && <SpecTab table={table} document={document.data} mayChange={mayChange} onApplied={document.reload} />,
  };
  return (
    <Page
      title={
        <>
          <Link href="/tables">Tables</Link> <span className="muted">/</span> {table}
        </>
      }
      note={parts.length > 0 && <State state={sum.state} />}
      tools={
        <>
          <Link className="button" href={queryLink(`SELECT *\nFROM ${quoted(table)}\nLIMIT 100`)}>
            Query
          </Link>
          {mayChange && (
            <Button disabled={!document.data} onClick={() => setProposing(true)}>
              New dashboard
            </Button>
          )}
          {mayChange && <Actions table={table} paused={parts.length > 0 && parts.every(({ state }) => state === "paused")} onChanged={partitions.reload} onSealed={size.reload} />}
        </>
      }
    >
      {document.data?.trouble && <ErrorBox error={{ kind: "trouble", message: document.data.trouble }} />}
      <LoadFailure error={document.error} />
      {isMade && mayChange && (
        <section className="panel made" aria-label="What now">
          <p role="status">
            <strong>{table} is there and reads its topic.</strong> A dashboard over it moves with the events.
          </p>
          <span className="spacer" />
          <Button kind="primary" disabled={!document.data} onClick={() => setProposing(true)}>
            <Icon name="chart" />
            Show it as a dashboard
          </Button>
          <Button kind="quiet" icon aria-label="Not now" onClick={() => setMade(false)}>
            <Icon name="close" />
          </Button>
        </section>
      )}
      {proposing && document.data && <NewDashboard document={document.data} catchingUp={["starting", "catching_up"].includes(sum.state)} onClose={() => setProposing(false)} />}
      <Figures label={`${table} now`}>
        <Figure label="Rows">
          <Whole value={count.data} />
        </Figure>
        <Figure label="Size in the store">
          <Bytes value={size.data?.size_bytes} />
        </Figure>
        <Figure label="Rate">{perSecond(partitions.data && sum.rate)}</Figure>
        <Figure label="Lag" hint="Messages that Kafka has and the table has not">
          <Whole value={partitions.data && sum.lag} />
        </Figure>
        <Figure label="Freshness" hint="How long what queries do not see yet may have waited, in the partition that is furthest behind; 0 if nothing waits">
          <Duration ms={partitions.data && sum.freshness} />
        </Figure>
        <Figure label="Dead letters" hint="Messages that do not fit the spec">
          <Whole value={partitions.data && sum.letters} />
        </Figure>
      </Figures>
      <div className="tab-line">
        <Tabs items={[...TABS]} selected={tab} onSelect={show} label={`Parts of ${table}`} panel="table-part" />
      </div>
      <div id="table-part" className="table-part" role="tabpanel" aria-label={TABS.find(({ key }) => key === tab)?.label}>
        {content[tab]()}
      </div>
    </Page>
  );
}

function Actions({ table, paused, onChanged, onSealed }: { table: string; paused: boolean; onChanged(): void; onSealed(): void }) {
  const [asks, setAsks] = useState<"pause" | "drop" | null>(null);
  const [purge, setPurge] = useState(false);
  const [sealing, setSealing] = useState(false);
  const close = () => setAsks(null);
  return (
    <>
      {paused ? (
        <Button onClick={() => void act(() => resume(table, null), () => `${table} goes on reading.`).then(onChanged)}>Resume</Button>
      ) : (
        <Button onClick={() => setAsks("pause")}>Pause</Button>
      )}
      <Button
        busy={sealing}
        title="Writes what is open into segments now"
        onClick={() => {
          setSealing(true);
          void act(
            () => seal(table, null),
            (answer) => `${counted((answer as { segments: unknown[] }).segments.length, "segment")} sealed.`,
          ).finally(() => {
            setSealing(false);
            onSealed();
          });
        }}
      >
        {sealing ? "Sealing…" : "Seal"}
      </Button>
      <Button kind="danger" onClick={() => setAsks("drop")}>
        Drop…
      </Button>
      {asks === "pause" && (
        <Confirm
          title={`Pause ${table}`}
          action="Pause"
          onClose={close}
          onConfirm={async () => {
            await pause(table, null);
            toast(`${table} is paused.`);
            close();
            onChanged();
          }}
        >
          <p>No partition is read any more until the table is resumed. Its rows stay where they are and can be queried; messages that Kafka deletes meanwhile are lost to the table.</p>
        </Confirm>
      )}
      {asks === "drop" && (
        <Confirm
          title={`Drop ${table}`}
          action={purge ? "Drop it and delete its objects" : "Drop it"}
          typed={table}
          onClose={close}
          onConfirm={async () => {
            await drop(table, purge);
            toast(`${table} was dropped.`);
            navigate("/tables");
          }}
        >
          <p>The table stops reading its topic, and queries do not find it any more.</p>
          <label className="check">
            <input type="checkbox" checked={purge} onChange={(event) => setPurge(event.target.checked)} />
            <span>Delete its objects in the store too. That cannot be undone; without it they stay there.</span>
          </label>
        </Confirm>
      )}
    </>
  );
}
