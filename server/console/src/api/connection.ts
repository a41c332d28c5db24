// Whether the server answers. A request that cannot reach it declares it lost; a probe then asks until it is back.
import { createStore, useStore } from "../store";

const RETRY_MS = 1000;
const PROBE_WAIT_MS = 4000;

export interface Connection {
  state: "connected" | "lost";
  /** Grows with each return of the server: views that load once load again. */
  epoch: number;
}

const connection = createStore<Connection>({ state: "connected", epoch: 0 });
let probing = false;

export const useConnection = () => useStore(connection);
export const connectionState = () => connection.get();

export function serverLost(): void {
  const { state, epoch } = connection.get();
  if (state === "connected") connection.set({ state: "lost", epoch });
  if (!probing) void probe();
}

export function serverAnswered(): void {
  const { state, epoch } = connection.get();
  if (state === "lost") connection.set({ state: "connected", epoch: epoch + 1 });
}

async function probe(): Promise<void> {
  probing = true;
  while (connection.get().state === "lost") {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    try {
      const response = await fetch("/healthz", { cache: "no-store", signal: AbortSignal.timeout(PROBE_WAIT_MS) });
      if (response.ok) serverAnswered();
    } catch {
      // Still lost.
    }
  }
  probing = false;
}
