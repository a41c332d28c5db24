import type { ButtonHTMLAttributes, ReactNode } from "react";

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: "plain" | "primary" | "quiet" | "danger";
  /** A button that shows only an icon; give it an aria-label. */
  icon?: boolean;
  children?: ReactNode;
}

export function Button({ kind = "plain", icon, className = "", type = "button", ...rest }: ButtonProps) {
  return <button type={type} className={`button ${kind} ${icon ? "icon" : ""} ${className}`} {...rest} />;
}
