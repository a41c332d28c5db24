// An answer as a file: the server is asked again, in the format of the file.
import { errorDetails } from "../../api/client";
import { type ExportFormat, exportAs } from "../../api/exports";
import { toast } from "../../components/Toast";

export const EXPORTS: { format: ExportFormat; label: string; ending: string }[] = [
  { format: "csv", label: "CSV", ending: "csv" },
  { format: "parquet", label: "Parquet", ending: "parquet" },
  { format: "arrow", label: "Arrow", ending: "arrow" },
  { format: "ndjson", label: "JSON, a row per line", ending: "ndjson" },
];

export async function exportFile(sql: string, format: ExportFormat, ending: string): Promise<void> {
  toast("Asking the server again for the file");
  try {
    const blob = await exportAs(sql, format);
    const address = URL.createObjectURL(blob);
    const link = document.createElement("a");
    link.href = address;
    link.download = `headwater-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${ending}`;
    link.click();
    // The download has begun when the click returns; the address is kept a little for slow browsers.
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } catch (error) {
    toast(errorDetails(error).message, "bad");
  }
}
