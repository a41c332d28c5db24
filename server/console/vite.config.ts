import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const server = process.env.HEADWATER_URL ?? "http://127.0.0.1:8099";
const isPage = (accept: string | undefined) => accept?.includes("text/html") ?? false;
const endpoints = ["/sql", "/queries", "/tables", "/dashboards", "/session", "/infer", "/preview", "/healthz", "/readyz", "/metrics"];

const proxy = Object.fromEntries(
  endpoints.map((path) => [
    path,
    // A path that is an endpoint and a view as well: the view is for whoever asks for a page.
    { target: server, bypass: (request: { headers: { accept?: string } }) => (isPage(request.headers.accept) ? "/index.html" : undefined) },
  ]),
);

/** Beside each file its packed twin, which the server sends to those who take it. */
const packed = {
  name: "packed",
  apply: "build" as const,
  writeBundle({ dir = "dist" }: { dir?: string }) {
    for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile() && /\.(html|js|css|svg)$/.test(entry.name)) writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
    }
  },
};

export default defineConfig({
  plugins: [react(), packed],
  build: {
    // light-dark() stays as it is written.
    target: ["chrome123", "firefox128", "safari17.5"],
    chunkSizeWarningLimit: 900,
    reportCompressedSize: false,
  },
  server: { proxy },
  preview: { proxy },
  test: { include: ["src/**/*.test.ts"] },
});
