// Short notes that go by themselves. They are spoken, and nothing depends on having seen them.
import { useLayoutEffect, useRef } from "react";
import { createStore, useStore } from "../store";

interface Note {
  id: number;
  text: string;
  tone: "plain" | "bad";
}

const SHOWN_MS = 4500;
/** What went wrong is read more slowly, and longer the more there is to read. */
const BAD_SHOWN_MS = 8000;
const READ_MS_PER_LETTER = 70;
const notes = createStore<Note[]>([]);
let last = 0;

export function toast(text: string, tone: Note["tone"] = "plain"): void {
  const note = { id: ++last, text, tone };
  notes.set([...notes.get().slice(-3), note]);
  const shown_ms = Math.max(tone === "bad" ? BAD_SHOWN_MS : SHOWN_MS, text.length * READ_MS_PER_LETTER);
  setTimeout(() => notes.set(notes.get().filter((other) => other !== note)), shown_ms);
}

export function Toasts() {
  const shown = useStore(notes);
  const layer = useRef<HTMLDivElement>(null);
  const newest = shown.at(-1)?.id;
  useLayoutEffect(() => {
    // What was opened last lies on top: above a dialog, and above a dashboard that fills the screen.
    layer.current?.hidePopover();
    if (newest !== undefined) layer.current?.showPopover();
  }, [newest]);
  return (
    <div role="status">
      <div className="toasts" popover="manual" ref={layer}>
        {shown.map((note) => (
          <div key={note.id} className={`toast ${note.tone}`}>
            {note.text}
          </div>
        ))}
      </div>
    </div>
  );
}
