// The theme: that of the system, unless one was chosen.
import { createStore, useStore } from "./store";

export type Theme = "light" | "dark";
const KEY = "headwater.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function current(): Theme {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === "light" || chosen === "dark") return chosen;
  return dark.matches ? "dark" : "light";
}

/** What was chosen before. theme.js has read it already, unless something between here and the server kept it away. */
function restore(): void {
  try {
    const stored = localStorage.getItem(KEY);
    if (stored === "light" || stored === "dark") document.documentElement.dataset.theme = stored;
  } catch {
    // No storage: the system's theme.
  }
}

restore();
const theme = createStore<Theme>(current());
dark.addEventListener("change", () => theme.set(current()));

export const useTheme = () => useStore(theme);

export function chooseTheme(next: Theme): void {
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  theme.set(next);
}

/** What a colour of tokens.css is in the current theme, for what does not read CSS (charts). */
export function tokenColor(name: string): string {
  const probe = document.createElement("span");
  probe.style.cssText = `display:none;color:var(${name})`;
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}
