// The frame around every view: navigation, theme, who is signed in, and what is said while the server is away.
import { Component, type ComponentType, lazy, type ReactNode, Suspense, useEffect, useRef } from "react";
import { errorDetails } from "../api/client";
import { useConnection } from "../api/connection";
import { loadSession, signOut, useSession } from "../api/session";
import { Button } from "../components/Button";
import { ErrorBox } from "../components/ErrorBox";
import { Icon } from "../components/Icon";
import { ThemeButton } from "../components/ThemeButton";
import { toast, Toasts } from "../components/Toast";
import { useKeptFocus } from "../hooks";
import { Link, match, usePath } from "../router";

const VIEWS = {
  Query: () => import("../views/Query"),
  Tables: () => import("../views/Tables"),
  Dashboards: () => import("../views/Dashboards"),
  Cluster: () => import("../views/Cluster"),
};

/** A view that is loaded when it is opened. */
const view = <P,>(load: () => Promise<{ default: ComponentType<P> }>) =>
  lazy(() =>
    load().catch(() => {
      throw new Error("This view could not be loaded: the server is away, or has another version of the console by now. Load the page again.");
    }),
  );

const Query = view(VIEWS.Query);
const Tables = view(VIEWS.Tables);
const Dashboards = view(VIEWS.Dashboards);
const Cluster = view(VIEWS.Cluster);
const SignIn = view(() => import("../views/SignIn"));

/** So long after the first view the others are loaded: a server that is lost later takes none of them away. */
const OTHERS_AFTER_MS = 3000;

interface Route {
  pattern: string;
  /** Of the page, by its parameters where those say more. */
  title: string | ((parameters: Record<string, string>) => string);
  view(parameters: Record<string, string>): ReactNode;
  /** Without navigation: what a read-only link shows. */
  bare?: boolean;
}

const ROUTES: Route[] = [
  { pattern: "/", title: "Query", view: () => <Query /> },
  { pattern: "/query", title: "Query", view: () => <Query /> },
  { pattern: "/tables", title: "Tables", view: () => <Tables /> },
  { pattern: "/tables/:table", title: ({ table }) => table ?? "", view: ({ table }) => <Tables key={table} table={table} /> },
  { pattern: "/dashboards", title: "Dashboards", view: () => <Dashboards /> },
  { pattern: "/dashboards/:id", title: "Dashboards", view: ({ id }) => <Dashboards key={id} id={id} /> },
  { pattern: "/d/:id", title: "Dashboard", view: ({ id }) => <Dashboards key={id} id={id} readOnly />, bare: true },
  { pattern: "/cluster", title: "Cluster", view: () => <Cluster /> },
];

const SESSION_RETRY_MS = 2000;

const NAVIGATION = [
  { href: "/query", label: "Query" },
  { href: "/tables", label: "Tables" },
  { href: "/dashboards", label: "Dashboards" },
  { href: "/cluster", label: "Cluster" },
];

export function Shell() {
  const path = usePath();
  const session = useSession();
  const { state: connection, epoch } = useConnection();
  useEffect(() => {
    // Without an answer nothing can be shown: it is asked for until there is one.
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = () =>
      loadSession().catch(() => {
        timer = setTimeout(load, SESSION_RETRY_MS);
      });
    void load();
    return () => clearTimeout(timer);
  }, [epoch]);

  const found = ROUTES.map((route) => ({ route, parameters: match(route.pattern, path) })).find(({ parameters }) => parameters !== null);
  const { title: ofRoute = "Not found", bare = false } = found?.route ?? {};
  const ofPage = typeof ofRoute === "string" ? ofRoute : ofRoute(found?.parameters ?? {});
  const title = session.state === "out" ? "Sign in" : ofPage;
  useEffect(() => {
    // With each path: the view before may have put in a title of its own.
    document.title = `${title} · Headwater`;
  }, [title, path]);
  useEffect(() => {
    if (bare || session.state !== "in") return;
    const timer = setTimeout(() => Object.values(VIEWS).forEach((load) => load().catch(() => undefined)), OTHERS_AFTER_MS);
    return () => clearTimeout(timer);
  }, [bare, session.state]);
  const main = useRef<HTMLElement>(null);
  useKeptFocus(main, path);

  let content: ReactNode;
  if (session.state === "unknown") content = null;
  else if (session.state === "out") content = <SignIn />;
  else if (found) content = found.route.view(found.parameters ?? {});
  else content = <p className="empty">There is nothing at this address.</p>;

  return (
    <div className={`shell ${bare ? "bare" : ""}`}>
      {!bare && <TopBar path={path} />}
      <div>
        {connection === "lost" && (
          <div className="lost-banner" role="alert">
            <Icon name="alert" />
            The server cannot be reached. Trying again every second; what is shown may be old.
          </div>
        )}
      </div>
      <main className="view" id="view" ref={main} tabIndex={-1}>
        <h1 className="visually-hidden">{title}</h1>
        <Boundary key={path}>
          <Suspense fallback={null}>{content}</Suspense>
        </Boundary>
      </main>
      <Toasts />
    </div>
  );
}

function TopBar({ path }: { path: string }) {
  const session = useSession();
  const { state } = useConnection();
  const current = path === "/" ? "/query" : path;
  // On an open server nobody has signed in, and nobody can sign out.
  const user = session.state === "in" && !session.session.open ? session.session.user : null;
  return (
    <header className="topbar">
      <button type="button" className="skip" onClick={() => document.getElementById("view")?.focus()}>
        To the content
      </button>
      <Link className="logo" href="/">
        <Logo />
        <span>Headwater</span>
      </Link>
      <nav className="nav" aria-label="Views">
        {session.state !== "out" &&
          NAVIGATION.map(({ href, label }) => (
            <Link key={href} href={href} aria-current={current === href || current.startsWith(`${href}/`) ? "page" : undefined}>
              {label}
            </Link>
          ))}
      </nav>
      <span className="spacer" />
      <span className={`connection ${state}`}>
        <span>{state === "connected" ? "connected" : "no connection"}</span>
      </span>
      {user !== null && (
        <>
          <span className="muted small">{user}</span>
          <Button kind="quiet" onClick={() => signOut().catch((error: unknown) => toast(errorDetails(error).message, "bad"))}>
            Sign out
          </Button>
        </>
      )}
      <ThemeButton />
    </header>
  );
}

function Logo() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="currentColor" />
      <path d="M6 10.500c3.3-3 6.7-3 10 0s6.7 3 10 0M6 16.500c3.3-3 6.7-3 10 0s6.7 3 10 0M6 22.500c3.3-3 6.7-3 10 0s6.7 3 10 0" fill="none" stroke="var(--surface-panel)" strokeWidth="2.4" strokeLinecap="round" />
    </svg>
  );
}

/** A fault of one view does not take the navigation with it. */
class Boundary extends Component<{ children: ReactNode }, { fault: unknown }> {
  override state = { fault: null as unknown };
  static getDerivedStateFromError(fault: unknown) {
    return { fault };
  }
  override render() {
    if (this.state.fault === null) return this.props.children;
    return (
      <div className="page-inner">
        <ErrorBox error={errorDetails(this.state.fault)} actions={<Button onClick={() => location.reload()}>Load the page again</Button>} />
      </div>
    );
  }
}
