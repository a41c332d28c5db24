// The newest rows of a table.
import { errorDetails } from "../../api/client";
import { Button } from "../../components/Button";
import { DataGrid } from "../../components/DataGrid";
import { EmptyState } from "../../components/EmptyState";
import { ErrorBox } from "../../components/ErrorBox";
import { counted } from "../../format";
import { useLoad } from "../../hooks";
import { loadSample, type TableDocument } from "./data";

export function Rows({ document }: { document: TableDocument }) {
  const sample = useLoad(`sample ${document.name}`, (signal) => loadSample(document, signal));
  const rows = sample.data?.rows;
  return (
    <section className="panel">
      <div className="panel-head">
        <h3>{document.spec.time_column ? "Newest rows" : "Some rows"}</h3>
        <span className="muted small">{rows && counted(rows.length, "row")}</span>
        <span className="spacer" />
        <Button kind="quiet" onClick={sample.reload}>
          Read again
        </Button>
      </div>
      {sample.error !== null && <ErrorBox error={errorDetails(sample.error)} />}
      {sample.data && rows && rows.length > 0 && (
        <div className="sample-grid">
          <DataGrid columns={sample.data.columns} rows={rows} label={`Rows of ${document.name}`} />
        </div>
      )}
      {rows?.length === 0 && <EmptyState title="No rows yet">As soon as the topic has messages that fit the spec they are here.</EmptyState>}
    </section>
  );
}
