// Who is signed in. A server without users is open: everybody may do everything.
import { createStore, useStore, writeStored } from "../store";
import { ApiError, request } from "./client";
import type { Session } from "./types";

export type SessionState = { state: "unknown" } | { state: "out" } | { state: "in"; session: Session };

/** Tells other windows that somebody has signed in, and nothing more. */
const SIGNED_IN_KEY = "headwater.signed-in";

const session = createStore<SessionState>({ state: "unknown" });

export const useSession = () => useStore(session);

/** Who was in last on this page; undefined: nobody yet. */
let seenBy: string | null | undefined;

function enter(next: Session): void {
  // What is on the page and in its memory is of the one before: the next one begins with a page of his own.
  if (seenBy !== undefined && seenBy !== next.user) return location.reload();
  seenBy = next.user;
  session.set({ state: "in", session: next });
}

export function csrfToken(): string | undefined {
  const current = session.get();
  return current.state === "in" ? current.session.csrf : undefined;
}

/** The name in the browser's storage for what is of the one who is in: whoever signs in next does not go on with it. */
export function ownKey(key: string): string {
  const current = session.get();
  const user = current.state === "in" ? current.session.user : null;
  return user === null ? key : `${key}@${user}`;
}

/** The server took a request for one without a session: the sign-in view is shown. */
export function signedOut(): void {
  session.set({ state: "out" });
}

/** Whether the one who is signed in may change things. */
export function isAdministrator(state: SessionState): boolean {
  return state.state === "in" && (state.session.open || state.session.role === "administrator");
}

/** Whether the one who is signed in may end a query of `user`. */
export function mayEnd(state: SessionState, user: string | null): boolean {
  return isAdministrator(state) || (state.state === "in" && user !== null && user === state.session.user);
}

/** Asks the server who is in, and with which role. */
export async function loadSession(): Promise<void> {
  try {
    enter(await request<Session>("GET", "/session"));
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) signedOut();
    else if (error instanceof ApiError && error.status === 404) enter({ user: null, role: null, open: true });
    else throw error;
  }
}

export async function signIn(user: string, password: string): Promise<void> {
  await request("POST", "/session", { body: { user, password } });
  await loadSession();
  if (session.get().state === "out") throw new Error("The browser did not keep the session: allow cookies of this page, and sign in again.");
  writeStored(SIGNED_IN_KEY, Date.now());
}

/** Goes on by itself when another window has signed in, or has done so already. Returns what ends that. */
export function followOtherWindows(): () => void {
  const look = () => void loadSession().catch(() => undefined);
  // Only other windows' changes are told.
  const heard = ({ key }: StorageEvent) => key === SIGNED_IN_KEY && look();
  addEventListener("storage", heard);
  look();
  return () => removeEventListener("storage", heard);
}

export async function signOut(): Promise<void> {
  await request("DELETE", "/session");
  signedOut();
}
