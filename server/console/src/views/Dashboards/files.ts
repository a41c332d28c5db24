// Dashboards as files.
import type { Dashboard } from "../../dashboards/model";
import { saveFile } from "../../download";

/** Hands the browser a document to save. */
export function exportFile(name: string, dashboard: Dashboard): void {
  saveFile(name, new Blob([`${JSON.stringify(dashboard, null, 2)}\n`], { type: "application/json" }));
}

/** Asks for a JSON file; null if none was chosen. Whether it is a dashboard the server says. */
export function pickFile(): Promise<{ name: string; content: unknown } | null> {
  return new Promise((resolve, reject) => {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = "application/json,.json";
    input.oncancel = () => resolve(null);
    input.onchange = async () => {
      const file = input.files?.[0];
      if (!file) return resolve(null);
      try {
        resolve({ name: file.name.replace(/\.json$/i, ""), content: JSON.parse(await file.text()) });
      } catch {
        reject(new Error(`${file.name} is not JSON.`));
      }
    };
    input.click();
  });
}
