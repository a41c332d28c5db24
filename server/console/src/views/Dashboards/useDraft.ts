// A dashboard that is being edited: what is there, what was changed, and who else has changed it meanwhile.
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { errorDetails } from "../../api/client";
import { toast } from "../../components/Toast";
import { getDashboard, isConflict, isMissing, putDashboard, type Stored } from "../../dashboards/api";
import { type Draft, keepDraft, keptDraft } from "../../dashboards/drafts";
import { type Dashboard, isSame } from "../../dashboards/model";
import { useLoad, useUnsaved } from "../../hooks";

/** What is left to be saved when `sent` is there as the version `etag`: what was changed while that was under way. */
export function afterSave(draft: Draft | null, sent: Dashboard, etag: string): Draft | null {
  return draft === null || isSame(draft.dashboard, sent) ? null : { dashboard: draft.dashboard, base: etag };
}

export interface Editing {
  /** The newest version that is known. */
  stored: Stored | undefined;
  /** The dashboard is not there, or not any more. */
  gone: boolean;
  error: unknown;
  reload(): void;
  /** What is edited; null: nothing is. */
  draft: Dashboard | null;
  dirty: boolean;
  saving: boolean;
  /** Somebody else's version is there. */
  conflict: boolean;
  failure: unknown;
  begin(): void;
  change(dashboard: Dashboard): void;
  save(over?: string): Promise<boolean>;
  discard(): void;
  dismiss(): void;
}

export function useDraft(id: string, mayChange: boolean): Editing {
  const loaded = useLoad(`dashboard ${id}`, (signal) => getDashboard(id, signal));
  const [saved, setSaved] = useState<Stored | null>(null);
  const [draft, setDraft] = useState<Draft | null>(() => (mayChange ? keptDraft(id) : null));
  const [saving, setSaving] = useState(false);
  const isSaving = useRef(false);
  const [conflict, setConflict] = useState(false);
  const [failure, setFailure] = useState<unknown>(null);
  // What was just written is known before it is read back.
  const stored = saved && (!loaded.data || saved.version > loaded.data.version) ? saved : loaded.data;
  const dirty = useMemo(() => draft !== null && stored !== undefined && !isSame(draft.dashboard, stored.dashboard), [draft, stored]);

  const isKnown = stored !== undefined;
  useEffect(() => {
    // Whether anything was changed is not known before what is stored.
    if (mayChange && isKnown) keepDraft(id, dirty ? draft : null);
  }, [id, mayChange, isKnown, draft, dirty]);
  useUnsaved(dirty);

  const begin = useCallback(() => {
    if (stored) setDraft((old) => old ?? { dashboard: stored.dashboard, base: stored.etag });
  }, [stored]);
  const change = useCallback((dashboard: Dashboard) => setDraft((old) => (old ? { ...old, dashboard } : old)), []);
  const dismiss = useCallback(() => {
    setConflict(false);
    setFailure(null);
  }, []);
  const discard = useCallback(() => {
    setDraft(null);
    // At once: the view may be left before the next look at it.
    keepDraft(id, null);
    dismiss();
  }, [id, dismiss]);
  const save = async (over?: string): Promise<boolean> => {
    if (!draft || isSaving.current) return false;
    isSaving.current = true;
    setSaving(true);
    setFailure(null);
    try {
      const { version, etag } = await putDashboard(id, draft.dashboard, over ?? draft.base);
      setSaved({ dashboard: draft.dashboard, version, etag });
      setDraft((now) => afterSave(now, draft.dashboard, etag));
      dismiss();
      toast(`Saved as version ${version}`);
      loaded.reload();
      return true;
    } catch (error) {
      if (isConflict(error)) {
        setConflict(true);
        loaded.reload();
      } else setFailure(errorDetails(error).kind === "lost" ? new Error("The server cannot be reached. What you have changed stays here; save it when the server is back.") : error);
      return false;
    } finally {
      isSaving.current = false;
      setSaving(false);
    }
  };
  return { stored, gone: isMissing(loaded.error), error: loaded.error, reload: loaded.reload, draft: draft?.dashboard ?? null, dirty, saving, conflict, failure, begin, change, save, discard, dismiss };
}
