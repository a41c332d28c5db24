// An error of the server, with the line of the statement that it is about and what may have been meant.
import type { ReactNode } from "react";
import { errorDetails, LostError } from "../api/client";
import type { ErrorDetails } from "../api/types";

const KINDS: Record<string, string> = {
  parse: "Not understood",
  plan: "Not possible",
  unknown_table: "Unknown table",
  execution: "Failed while running",
  cancelled: "Cancelled",
  rows_exceeded: "Too many rows",
  memory_exceeded: "Too much memory",
  deadline: "Took too long",
  overloaded: "The server is busy",
  not_read_only: "Only reading is possible",
  segment_unavailable: "Data out of reach",
  bad_request: "Not understood",
  lost: "No connection",
  invalid: "Not valid",
  conflict: "Changed by somebody else",
  forbidden: "Not allowed",
  unauthorized: "Not let in",
};

interface ErrorBoxProps {
  error: ErrorDetails;
  /** The statement that the position is in. */
  sql?: string;
  /** Buttons: a fix, a retry. */
  actions?: ReactNode;
  tone?: "bad" | "warn";
}

export function ErrorBox({ error, sql, actions, tone = "bad" }: ErrorBoxProps) {
  const { position } = error;
  const line = position && sql ? sql.split("\n")[position.line - 1] : undefined;
  return (
    <div className={`error-box ${tone}`} role="alert">
      <div className="kind">
        {KINDS[error.kind] ?? error.kind.replaceAll("_", " ")}
        {position && ` · line ${position.line}, column ${position.column}`}
      </div>
      <div className="message">{error.message}</div>
      {line !== undefined && position && (
        <pre tabIndex={0}>
          {line}
          {"\n"}
          {" ".repeat(Math.max(0, position.column - 1))}
          <span className="caret">^</span>
        </pre>
      )}
      {actions && <div className="row">{actions}</div>}
    </div>
  );
}

interface LoadFailureProps extends Pick<ErrorBoxProps, "tone" | "actions"> {
  error: unknown;
}

/** Why something cannot be loaded. That the server is lost the banner says, once for everything that waits for it. */
export function LoadFailure({ error, ...rest }: LoadFailureProps) {
  return error === null || error instanceof LostError ? null : <ErrorBox error={errorDetails(error)} {...rest} />;
}
