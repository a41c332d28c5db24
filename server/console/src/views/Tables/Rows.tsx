// The newest rows of a table.
import { Button } from "../../components/Button";
import { DataGrid } from "../../components/DataGrid";
import { EmptyState } from "../../components/EmptyState";
import { LoadFailure } from "../../components/ErrorBox";
import { Panel } from "../../components/Page";
import { counted } from "../../format";
import { useLoad } from "../../hooks";
import { loadSample, type TableDocument } from "./data";

export function Rows({ document }: { document: TableDocument }) {
  const sample = useLoad(`sample ${document.name}`, (signal) => loadSample(document, signal));
  const rows = sample.data?.rows;
  return (
    <Panel
      title={document.spec.time_column ? "Newest rows" : "Some rows"}
      note={rows && counted(rows.length, "row")}
      tools={
        <Button kind="quiet" busy={sample.loading} onClick={sample.reload}>
          Read again
        </Button>
      }
    >
      <LoadFailure error={sample.error} />
      {sample.data && rows && rows.length > 0 && (
        <div className="sample-grid">
          <DataGrid columns={sample.data.columns} rows={rows} label={`Rows of ${document.name}`} />
        </div>
      )}
      {rows?.length === 0 && <EmptyState title="No rows yet">As soon as the topic has messages that fit the spec they are here.</EmptyState>}
    </Panel>
  );
}
