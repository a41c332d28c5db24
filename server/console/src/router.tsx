// Client-side routes on the history API.
import type { AnchorHTMLAttributes, MouseEvent } from "react";
import { createStore, useStore } from "./store";

const path = createStore(location.pathname);
addEventListener("popstate", () => path.set(location.pathname));

/** The path of the address, without search and hash. */
export const usePath = () => useStore(path);

export function navigate(to: string, options: { replace?: boolean } = {}): void {
  history[options.replace ? "replaceState" : "pushState"](null, "", to);
  path.set(location.pathname);
  dispatchEvent(new Event("headwater:navigated"));
}

/** The parameters of a path that fits `/tables/:name`; null if it does not fit. */
export function match(pattern: string, actual: string): Record<string, string> | null {
  const want = pattern.split("/").filter(Boolean);
  const have = actual.split("/").filter(Boolean);
  if (want.length !== have.length) return null;
  const parameters: Record<string, string> = {};
  for (const [i, part] of want.entries()) {
    const given = have[i] ?? "";
    if (part.startsWith(":")) {
      try {
        parameters[part.slice(1)] = decodeURIComponent(given);
      } catch {
        return null;
      }
    } else if (part !== given) return null;
  }
  return parameters;
}

export function Link({ href, onClick, ...rest }: AnchorHTMLAttributes<HTMLAnchorElement> & { href: string }) {
  const go = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event);
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(href);
  };
  return <a href={href} onClick={go} {...rest} />;
}
