import type { ButtonHTMLAttributes, ReactNode } from "react";

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: "plain" | "primary" | "quiet" | "danger";
  /** A button that shows only an icon; give it an aria-label. */
  icon?: boolean;
  /** What it began goes on: it does nothing until then, and keeps the focus, which a disabled button would lose. */
  busy?: boolean;
  children?: ReactNode;
}

export function Button({ kind = "plain", icon, busy = false, className = "", type = "button", onClick, ...rest }: ButtonProps) {
  return <button type={type} className={`button ${kind} ${icon ? "icon" : ""} ${className}`} aria-disabled={busy || undefined} onClick={busy ? (event) => event.preventDefault() : onClick} {...rest} />;
}
