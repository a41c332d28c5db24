// Short notes that go by themselves. They are spoken, and nothing depends on having seen them.
import { createStore, useStore } from "../store";

interface Note {
  id: number;
  text: string;
  tone: "plain" | "bad";
}

const SHOWN_MS = 4500;
const notes = createStore<Note[]>([]);
let last = 0;

export function toast(text: string, tone: Note["tone"] = "plain"): void {
  const note = { id: ++last, text, tone };
  notes.set([...notes.get().slice(-3), note]);
  setTimeout(() => notes.set(notes.get().filter((other) => other !== note)), SHOWN_MS);
}

export function Toasts() {
  const shown = useStore(notes);
  return (
    <div className="toasts" role="status">
      {shown.map((note) => (
        <div key={note.id} className={`toast ${note.tone}`}>
          {note.text}
        </div>
      ))}
    </div>
  );
}
