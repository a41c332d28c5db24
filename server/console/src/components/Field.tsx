// Fields of forms: a label, and below it what is typed or chosen.
import type { InputHTMLAttributes, ReactNode } from "react";

export interface Option<V extends string | number = string> {
  value: V;
  label: string;
}

export function Field({ label, children }: { label: ReactNode; children: ReactNode }) {
  return (
    <label className="field">
      <span>{label}</span>
      {children}
    </label>
  );
}

interface TextFieldProps extends Omit<InputHTMLAttributes<HTMLInputElement>, "onChange" | "value"> {
  label: ReactNode;
  value: string;
  onValue(value: string): void;
}

export function TextField({ label, className = "", onValue, ...rest }: TextFieldProps) {
  return (
    <Field label={label}>
      <input className={`input ${className}`} onChange={(event) => onValue(event.target.value)} {...rest} />
    </Field>
  );
}

interface SelectProps<V extends string | number> {
  value: V;
  options: readonly Option<V>[];
  onValue(value: V): void;
}

export function Select<V extends string | number>({ value, options, onValue }: SelectProps<V>) {
  return (
    <select
      className="select"
      value={value}
      onChange={(event) => {
        const chosen = options[event.target.selectedIndex];
        if (chosen) onValue(chosen.value);
      }}
    >
      {options.map((option) => (
        <option key={option.value} value={option.value}>
          {option.label}
        </option>
      ))}
    </select>
  );
}

export function SelectField<V extends string | number>({ label, ...rest }: SelectProps<V> & { label: ReactNode }) {
  return (
    <Field label={label}>
      <Select {...rest} />
    </Field>
  );
}

/** Names as options, behind the one that stands for none of them. */
export const withNone = (none: string, names: string[]): Option[] => [{ value: "", label: none }, ...names.map((name) => ({ value: name, label: name }))];
