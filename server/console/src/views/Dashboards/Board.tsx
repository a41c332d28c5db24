// One dashboard: watched live, and edited.
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { errorDetails } from "../../api/client";
import { isAdministrator, useSession } from "../../api/session";
import { copyText } from "../../clipboard";
import { Button } from "../../components/Button";
import { Confirm } from "../../components/Confirm";
import { Dialog } from "../../components/Dialog";
import { EmptyState } from "../../components/EmptyState";
import { ErrorBox } from "../../components/ErrorBox";
import { Icon } from "../../components/Icon";
import { Menu } from "../../components/Menu";
import { ThemeButton } from "../../components/ThemeButton";
import { toast } from "../../components/Toast";
import { createDashboard, preview } from "../../dashboards/api";
import { type Chosen, chosenIn, compacted, type Dashboard, firstSize, freePlace, neighbourOf, newPanelId, nudged, type Panel, type PanelAnswer, PANELS_MAX, searchOf, valuesOf } from "../../dashboards/model";
import { useKeptFocus } from "../../hooks";
import { Link, navigate } from "../../router";
import type { Store } from "../../store";
import { ConflictDialog, CopyButton, GoneBanner } from "./Conflict";
import { DeleteDialog } from "./DeleteDialog";
import { exportFile } from "./files";
import { Grid } from "./Grid";
import { LiveChip } from "./LiveChip";
import { type PanelActions, PanelCard } from "./PanelCard";
import { PanelEditor } from "./PanelEditor";
import { Settings } from "./Settings";
import { SqlField } from "./SqlField";
import { type Editing, useDraft } from "./useDraft";
import { PanelStores, useLive } from "./useLive";
import { Choices } from "./Variables";

export function Board({ id, readOnly }: { id: string; readOnly: boolean }) {
  const mayChange = isAdministrator(useSession()) && !readOnly;
  const editing = useDraft(id, mayChange);
  const { stored, draft, error, gone } = editing;
  const title = stored?.dashboard.title;
  useEffect(() => {
    if (title) document.title = `${title} · Headwater`;
  }, [title]);
  // What is being edited stays in sight.
  if (gone && !(stored && draft)) {
    return (
      <EmptyState title="This dashboard is not there" action={readOnly ? undefined : <Link href="/dashboards">All dashboards</Link>}>
        <p>There is no dashboard {id}. It may have been deleted, or the link may be wrong.</p>
        {draft && (
          <p>
            You have changed it and not saved that. <CopyButton id={id} editing={editing} draft={draft} />
          </p>
        )}
      </EmptyState>
    );
  }
  if (!stored) {
    return error === null ? null : (
      <div className="page-inner">
        <ErrorBox error={errorDetails(error)} actions={<Button onClick={editing.reload}>Try again</Button>} />
      </div>
    );
  }
  return <Loaded id={id} readOnly={readOnly} mayChange={mayChange} editing={editing} stored={stored} />;
}

interface LoadedProps {
  id: string;
  readOnly: boolean;
  mayChange: boolean;
  editing: Editing;
  stored: NonNullable<Editing["stored"]>;
}

function Loaded({ id, readOnly, mayChange, editing, stored }: LoadedProps) {
  const board = useRef<HTMLDivElement>(null);
  const [stores] = useState(() => new PanelStores());
  const [trials] = useState(() => new PanelStores());
  const [chosen, setChosen] = useState<Chosen>(() => chosenIn(location.search));
  const [open, setOpen] = useState<{ what: "panel"; panel: Panel; isNew: boolean } | { what: "settings" | "discard" | "delete" } | { what: "sql"; panel: string } | null>(null);
  const { draft, gone } = editing;
  const shown = draft ?? stored.dashboard;
  const search = searchOf(chosen, stored.dashboard);
  const values = useMemo(() => valuesOf(shown, chosen), [shown, chosen]);
  const last = chosen.last ?? shown.time.last;
  const close = useCallback(() => setOpen(null), []);

  const live = useLive(id, gone ? null : stored.etag, search, stores, {
    onVersion: (version) => {
      // An older one: not all servers have heard of ours yet.
      if (version !== null && version > stored.version && draft === null) toast(`Changed by somebody else: version ${version}`);
      editing.reload();
    },
  });
  useEffect(() => {
    // Edited from the moment at which it was made.
    if (location.hash === "#edit" && mayChange) editing.begin();
    // A link to one of its panels.
    const [, linked] = /^#panel=(.+)$/.exec(location.hash) ?? [];
    if (linked) goTo(linked);
  }, []);
  useEffect(() => history.replaceState(null, "", `${location.pathname}${search}`), [search]);

  const saved = useMemo(() => new Map(stored.dashboard.panels.map((panel) => [panel.id, panel.sql])), [stored]);
  const isTrial = (panel: Panel) => draft !== null && saved.get(panel.id) !== panel.sql;
  const storeOf = (panel: Panel): Store<PanelAnswer | null> => (isTrial(panel) ? trials : stores).of(panel.id);
  const [asked] = useState(() => new Map<string, AbortController>());
  const tryPanel = useCallback(
    (panel: Panel) => {
      const controller = new AbortController();
      asked.get(panel.id)?.abort();
      asked.set(panel.id, controller);
      const take = (answer: PanelAnswer) => {
        // What was asked last counts, whichever answer comes last.
        if (!controller.signal.aborted) trials.of(panel.id).set(answer);
      };
      preview(panel.sql, values, last, controller.signal).then(take, (error: unknown) => take({ columns: [], rows: [], cuts: {}, freshness_ms: null, error: errorDetails(error) }));
    },
    [values, last, asked, trials],
  );
  const choice = JSON.stringify([values, last]);
  useEffect(() => {
    // What is not saved does not move by itself.
    for (const panel of shown.panels) if (isTrial(panel)) tryPanel(panel);
  }, [choice, stored.etag]);

  const latest = useRef({ editing, shown });
  latest.current = { editing, shown };
  const change = useCallback((part: Partial<Dashboard>) => latest.current.editing.change({ ...latest.current.shown, ...part }), []);
  const edit = useCallback((panel: string) => {
    const found = latest.current.shown.panels.find((one) => one.id === panel);
    if (found) setOpen({ what: "panel", panel: found, isNew: false });
  }, []);
  const actions: PanelActions = useMemo(
    () => ({
      onEdit: edit,
      onCopy: (panel) => {
        const { panels } = latest.current.shown;
        const found = panels.find((one) => one.id === panel);
        if (!found || panels.length >= PANELS_MAX) return;
        const copy = { ...found, id: newPanelId(panels), title: `${found.title} (copy)`, at: freePlace(panels, found.at.w, found.at.h) };
        change({ panels: [...panels, copy] });
        tryPanel(copy);
      },
      onRemove: (panel) => {
        const { panels } = latest.current.shown;
        change({ panels: compacted(panels.filter((one) => one.id !== panel)) });
        goTo(neighbourOf(panels, panel));
      },
      onNudge: (panel, by) => change({ panels: nudged(latest.current.shown.panels, panel, by) }),
    }),
    [change, edit, tryPanel],
  );
  const explain = useCallback((panel: string) => setOpen({ what: "sql", panel }), []);
  const add = () => {
    editing.begin();
    const { panels } = shown;
    const { w, h } = firstSize("line");
    setOpen({ what: "panel", isNew: true, panel: { id: newPanelId(panels), title: "", sql: "", kind: "line", y: [], at: freePlace(panels, w, h) } });
  };
  const takePanel = (panel: Panel, answer: PanelAnswer | null) => {
    const { panels } = shown;
    const exists = panels.some((one) => one.id === panel.id);
    change({ panels: exists ? panels.map((one) => (one.id === panel.id ? panel : one)) : [...panels, panel] });
    if (answer) {
      asked.get(panel.id)?.abort();
      trials.of(panel.id).set(answer);
    } else if (saved.get(panel.id) !== panel.sql) tryPanel(panel);
    close();
    if (!exists) goTo(panel.id);
  };
  const save = async (over?: string) => {
    if (gone) return;
    const tried = shown.panels.filter(isTrial).map((panel) => panel.id);
    if (!(await editing.save(over))) return;
    // What was tried is shown until the first live answer comes.
    for (const panel of tried) stores.of(panel).set(trials.of(panel).get());
  };
  const fullScreen = () => void (document.fullscreenElement ? document.exitFullscreen() : board.current?.requestFullscreen());
  const discard = () => (editing.dirty ? setOpen({ what: "discard" }) : editing.discard());
  useKeys({
    e: () => mayChange && draft === null && editing.begin(),
    f: fullScreen,
    "mod+s": () => draft !== null && void save(),
  });

  useKeptFocus(board, draft === null);

  const link = `${location.origin}/d/${encodeURIComponent(id)}${search}`;
  return (
    <div className={`board ${draft ? "editing" : ""}`} ref={board} tabIndex={-1}>
      <header className="board-head">
        <h2 title={shown.title}>{shown.title}</h2>
        <LiveChip state={gone ? "lost" : live.state} freshness={stores.freshness} />
        <span className="spacer" />
        <Choices saved={{ id, dashboard: stored.dashboard }} dashboard={shown} chosen={chosen} onChosen={setChosen} />
        {draft ? (
          <>
            <Button onClick={add} disabled={shown.panels.length >= PANELS_MAX}>
              <Icon name="plus" /> Panel
            </Button>
            <Button onClick={() => setOpen({ what: "settings" })}>Settings</Button>
            <Button onClick={discard}>{editing.dirty ? "Discard" : "Done"}</Button>
            <Button kind="primary" disabled={!editing.dirty || editing.saving || gone} onClick={() => void save()}>
              {editing.saving ? "Saving…" : "Save"}
            </Button>
          </>
        ) : (
          <>
            {mayChange && (
              <Button onClick={editing.begin} title="Edit (E)">
                <Icon name="pencil" /> Edit
              </Button>
            )}
            <Button kind="quiet" icon aria-label="Full screen" title="Full screen (F)" onClick={fullScreen}>
              <Icon name="expand" />
            </Button>
            {readOnly ? (
              <ThemeButton />
            ) : (
              <Menu
                ariaLabel="More"
                label={<Icon name="dots" />}
                items={[
                  { label: "Copy the read-only link", onSelect: () => void copyLink(link) },
                  { label: "Open the read-only link", onSelect: () => navigate(`/d/${encodeURIComponent(id)}${search}`) },
                  { label: "Export as JSON", onSelect: () => exportFile(`${id}.json`, stored.dashboard) },
                  ...(mayChange
                    ? [
                        { label: "Make a copy", onSelect: () => void makeCopy(id, stored.dashboard) },
                        { label: "Delete…", onSelect: () => setOpen({ what: "delete" }) },
                      ]
                    : []),
                ]}
              />
            )}
          </>
        )}
      </header>
      {draft && (
        <p className="board-hint muted small" id="board-keys">
          Drag panels by their heads and their corners. By keyboard: arrows move the panel in focus, <kbd>Shift</kbd> and arrows change its size, <kbd>Enter</kbd> edits, <kbd>Del</kbd> removes.
        </p>
      )}
      <div className="board-scroll">
        {gone && <GoneBanner id={id} editing={editing} draft={shown} />}
        {live.refused && !gone && <ErrorBox error={{ ...live.refused, message: `What is shown is not live: ${live.refused.message}` }} tone="warn" />}
        {editing.failure !== null && <ErrorBox error={errorDetails(editing.failure)} actions={<Button onClick={editing.dismiss}>Close</Button>} />}
        {shown.panels.length === 0 ? (
          <EmptyState
            title="No panels yet"
            action={
              mayChange ? (
                <Button kind="primary" onClick={add}>
                  <Icon name="plus" /> Add a panel
                </Button>
              ) : undefined
            }
          >
            <p>A panel is a statement and how its answer is shown: lines, areas, bars, points, a big number or a table. It runs again when new rows are there.</p>
          </EmptyState>
        ) : (
          <Grid
            panels={shown.panels}
            editable={draft !== null}
            onPanels={(panels) => change({ panels })}
            render={(panel) => <PanelCard panel={panel} store={storeOf(panel)} actions={draft ? actions : undefined} onExplain={explain} />}
          />
        )}
      </div>
      {open?.what === "panel" && <PanelEditor panel={open.panel} isNew={open.isNew} values={values} last={last} onClose={close} onDone={takePanel} />}
      {open?.what === "settings" && (
        <Settings
          dashboard={shown}
          onClose={close}
          onDone={(dashboard) => {
            change(dashboard);
            close();
          }}
        />
      )}
      {open?.what === "sql" && <SqlDialog panel={shown.panels.find((panel) => panel.id === open.panel)} onClose={close} />}
      {open?.what === "discard" && (
        <Confirm title="Discard what you have changed?" action="Discard" keep="Go on editing" onClose={close} onConfirm={() => (editing.discard(), close())}>
          <p>The dashboard goes back to version {stored.version}.</p>
        </Confirm>
      )}
      {open?.what === "delete" && <DeleteDialog id={id} etag={stored.etag} title={stored.dashboard.title} onClose={close} onDeleted={() => navigate("/dashboards")} />}
      {editing.conflict && !gone && <ConflictDialog id={id} editing={editing} version={stored.version} draft={shown} onOverwrite={() => void save(stored.etag)} />}
    </div>
  );
}

/** The keyboard goes on at a panel as soon as it is there, in sight. */
function goTo(panel: string | undefined): void {
  requestAnimationFrame(() => document.querySelector<HTMLElement>(`[data-panel="${CSS.escape(panel ?? "")}"]`)?.focus());
}

/** Keys that count while nothing is being written and no dialog is open. */
function useKeys(keys: Record<string, () => unknown>): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const mod = event.ctrlKey || event.metaKey;
      const target = event.target as HTMLElement;
      if (document.querySelector("dialog[open]") || event.altKey) return;
      if (!mod && (target.isContentEditable || target.closest("input, select, textarea, .grid"))) return;
      const action = latest.current[`${mod ? "mod+" : ""}${event.key.toLowerCase()}`];
      if (!action) return;
      event.preventDefault();
      action();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

async function copyLink(link: string): Promise<void> {
  if (await copyText(link)) toast("The read-only link is copied");
  else toast(`The browser does not allow copying here. The link is ${link}`, "bad");
}

function SqlDialog({ panel, onClose }: { panel?: Panel; onClose(): void }) {
  if (!panel) return null;
  return (
    <Dialog wide title={panel.title || panel.id} onClose={onClose}>
      <div className="panel-editor-sql">
        <SqlField label="SQL of the panel" value={panel.sql} onChange={() => undefined} readOnly />
      </div>
    </Dialog>
  );
}

async function makeCopy(id: string, dashboard: Dashboard): Promise<void> {
  try {
    navigate(`/dashboards/${await createDashboard(`${id}-copy`, { ...dashboard, title: `${dashboard.title} (copy)` })}`);
  } catch (error) {
    toast(errorDetails(error).message, "bad");
  }
}
