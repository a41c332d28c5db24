// The frames of most views: a page with its head, and panels with theirs.
import type { ReactNode } from "react";

interface FrameProps {
  title: ReactNode;
  /** What stands beside the title. */
  note?: ReactNode;
  /** What stands at the end of the head. */
  tools?: ReactNode;
  children: ReactNode;
}

export function Page({ title, note, tools, children }: FrameProps) {
  return (
    <div className="page">
      <div className="page-inner">
        <div className="page-head">
          <h2>{title}</h2>
          {note}
          <span className="spacer" />
          {tools}
        </div>
        {children}
      </div>
    </div>
  );
}

export function Panel({ title, note, tools, className = "", children }: FrameProps & { className?: string }) {
  return (
    <section className={`panel ${className}`}>
      <div className="panel-head">
        <h3>{title}</h3>
        <span className="muted small">{note}</span>
        <span className="spacer" />
        {tools}
      </div>
      {children}
    </section>
  );
}
