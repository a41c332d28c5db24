import { afterEach, expect, test, vi } from "vitest";
import { ApiError, request, sql, TOO_LARGE, TooLargeError } from "./client";
import { connectionState } from "./connection";

afterEach(() => vi.unstubAllGlobals());

/** A body that goes on for ever; says when nobody reads it any more. */
function endless(head: string, part: string) {
  const seen = { parts: 0, cancelled: false };
  const encoder = new TextEncoder();
  vi.stubGlobal("fetch", async () => {
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => controller.enqueue(encoder.encode(seen.parts++ === 0 ? head : part));
    return new Response(new ReadableStream({ pull, cancel: () => void (seen.cancelled = true) }));
  });
  return seen;
}

test("an answer is read up to a bound, and what came of its rows is shown", async () => {
  const seen = endless('{"query_id":"q","columns":[{"name":"a","type":"STRING"}],"rows":[["first"]', `,["${"x".repeat(1 << 20)}"]`);
  const answer = await sql("SELECT a FROM t");
  expect(answer.rows.length).toBe(65);
  expect(answer.error).toMatchObject({ kind: TOO_LARGE, message: expect.stringContaining("64 MB") });
  expect(seen.cancelled).toBe(true);
  expect(seen.parts).toBeLessThan(70);
});

test("other answers that are too large are errors, and no lost server", async () => {
  endless("[", `"${"x".repeat(1 << 20)}",`);
  await expect(request("GET", "/tables")).rejects.toThrow(TooLargeError);
  vi.stubGlobal("fetch", async () => new Response('{"error":{"kind":"conflict","message":"taken"}}', { status: 409 }));
  await expect(request("PUT", "/tables/t")).rejects.toThrow(ApiError);
  expect(connectionState().state).toBe("connected");
});
