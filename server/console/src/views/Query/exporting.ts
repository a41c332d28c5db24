// An answer as a file: the server is asked again, in the format of the file.
import { errorDetails } from "../../api/client";
import { type ExportFormat, exportAs } from "../../api/exports";
import { toast } from "../../components/Toast";
import { saveFile } from "../../download";

export const EXPORTS: { format: ExportFormat; label: string; ending: string }[] = [
  { format: "csv", label: "CSV", ending: "csv" },
  { format: "parquet", label: "Parquet", ending: "parquet" },
  { format: "arrow", label: "Arrow", ending: "arrow" },
  { format: "ndjson", label: "JSON, a row per line", ending: "ndjson" },
];

export async function exportFile(sql: string, format: ExportFormat, ending: string): Promise<void> {
  toast("Asking the server again for the file");
  try {
    saveFile(`headwater-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${ending}`, await exportAs(sql, format));
  } catch (error) {
    toast(errorDetails(error).message, "bad");
  }
}
