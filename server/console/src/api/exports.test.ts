import { afterEach, expect, test, vi } from "vitest";
import { connectionState } from "./connection";
import { exportAs, faultAtEnd } from "./exports";

afterEach(() => vi.unstubAllGlobals());

test("the last line of NDJSON is an error or a row", () => {
  expect(faultAtEnd('{"a":1}\n{"error":{"kind":"rows_exceeded","message":"too many"}}\n')).toEqual({ kind: "rows_exceeded", message: "too many" });
  // The tail may begin in the middle of a line.
  expect(faultAtEnd('":1}\n{"a":2}\n')).toBeNull();
  expect(faultAtEnd('{"error":"a column of this name"}\n')).toBeNull();
  expect(faultAtEnd('{"error":{"kind":"k","message":"m"},"b":1}\n')).toBeNull();
  expect(faultAtEnd("")).toBeNull();
});

/** Answers `/sql` with bodies in their order; an Error breaks the body off. */
function answering(bodies: (string | Error)[]): unknown[] {
  const asked: unknown[] = [];
  vi.stubGlobal("fetch", async (_path: string, init: { body: string }) => {
    asked.push(JSON.parse(init.body));
    const body = bodies.shift() ?? "";
    if (typeof body === "string") return new Response(body);
    return new Response(new ReadableStream({ pull: (controller) => controller.error(body) }));
  });
  return asked;
}

test("asks without the bounds of what is shown", async () => {
  const asked = answering(["a\n1\n"]);
  expect(await (await exportAs("SELECT 1 AS a", "csv")).text()).toBe("a\n1\n");
  expect(asked[0]).toMatchObject({ sql: "SELECT 1 AS a", format: "csv", rows_max: 1_000_000_000, query_id: expect.stringMatching(/^console-/) });
});

test("an answer that breaks off is no lost server, and the server is asked why", async () => {
  answering([new TypeError("network error"), '{"columns":[{"name":"error"}],"rows":[["too many rows"]]}']);
  await expect(exportAs("SELECT 1", "csv")).rejects.toThrow("The export broke off, nothing was saved: too many rows");
  answering(['{"a":1}\n{"error":{"kind":"rows_exceeded","message":"too many"}}\n']);
  await expect(exportAs("SELECT 1", "ndjson")).rejects.toThrow("The export broke off, nothing was saved: too many");
  expect(connectionState().state).toBe("connected");
});
