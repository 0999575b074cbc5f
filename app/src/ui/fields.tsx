/** What forms are made of: a text with its label, the buttons at the end, and the box that searches a list. */

import type { Signal } from "@preact/signals";
import type { RefObject } from "preact";
import { t } from "../i18n";
import { Icon } from "./icons";

/** No day before it is taken: a year that is being typed begins with zeros. */
const EARLIEST = "1900-01-01";

interface TextProps {
  label: string;
  text: Signal<string>;
  testId?: string;
  type?: "text" | "date" | "number" | "password";
  required?: boolean;
  pattern?: string;
  min?: string;
  max?: string;
  minLength?: number;
  maxLength?: number;
  placeholder?: string;
  autocomplete?: string;
}

/** A line of text, a date, a number or a passphrase, held by a signal. */
export function TextField({ label, text, testId, ...attributes }: TextProps) {
  return (
    <label class="field">
      <span>{label}</span>
      <input
        type="text"
        {...(attributes as object)}
        value={text.value}
        onInput={(event) => (text.value = event.currentTarget.value)}
        data-testid={testId}
      />
    </label>
  );
}

/** A note of several lines. */
export function NoteField({ text, testId }: { text: Signal<string>; testId?: string }) {
  return (
    <label class="field">
      <span>{t("note")}</span>
      <textarea
        rows={3}
        maxLength={4000}
        value={text.value}
        onInput={(event) => (text.value = event.currentTarget.value)}
        data-testid={testId}
      />
    </label>
  );
}

interface KeptProps {
  label: string;
  onKeep: (value: string) => void;
  testId?: string;
}

/**
 * A text that is kept when the field is left.
 *
 * Kept fields hold their own text: a save that ends while one is being typed in draws the page anew.
 */
export function KeptText({
  label,
  text,
  lines,
  maxLength,
  onKeep,
  testId,
}: KeptProps & { text: string; lines: number; maxLength: number }) {
  const attributes = {
    maxLength,
    defaultValue: text,
    onChange: (event: { currentTarget: { value: string } }) => onKeep(event.currentTarget.value),
    "data-testid": testId,
  };
  return (
    <label class="field">
      <span>{label}</span>
      {lines > 1 ? <textarea rows={lines} {...attributes} /> : <input type="text" {...attributes} />}
    </label>
  );
}

/** A day that is kept as soon as it is whole and allowed; any other gives way to the kept one when the field is left. */
export function KeptDay({
  label,
  day,
  required = false,
  max,
  onKeep,
  testId,
}: KeptProps & { day: string; required?: boolean; max?: string }) {
  return (
    <label class="field">
      <span>{label}</span>
      <input
        type="date"
        required={required}
        min={EARLIEST}
        {...(max !== undefined && { max })}
        defaultValue={day}
        onChange={({ currentTarget: field }) => field.checkValidity() && onKeep(field.value)}
        onBlur={({ currentTarget: field }) => {
          if (!field.checkValidity()) field.value = day;
        }}
        data-testid={testId}
      />
    </label>
  );
}

interface ActionsProps {
  onClose: () => void;
  /** On the button that sends the form. */
  label?: string;
  disabled?: boolean;
  testId?: string;
}

export function FormActions({ onClose, label = t("save"), disabled = false, testId }: ActionsProps) {
  return (
    <div class="actions">
      <button type="button" class="button" onClick={onClose}>
        {t("cancel")}
      </button>
      <button type="submit" class="button button-primary" disabled={disabled} data-testid={testId}>
        {label}
      </button>
    </div>
  );
}

export function SearchBox({ query, hint, testId }: { query: Signal<string>; hint: string; testId: string }) {
  return (
    <label class="search">
      <span class="visually-hidden">{t("search")}</span>
      <Icon name="search" />
      <input
        type="search"
        value={query.value}
        placeholder={hint}
        onInput={(event) => (query.value = event.currentTarget.value)}
        data-testid={testId}
      />
    </label>
  );
}

interface FileProps {
  input: RefObject<HTMLInputElement | null>;
  accept: string;
  multiple?: boolean;
  testId: string;
  onFiles: (files: File[]) => void;
}

/** What a button that opens the file dialog clicks; it shows nothing itself. */
export function FileInput({ input, accept, multiple = false, testId, onFiles }: FileProps) {
  return (
    <input
      ref={input}
      type="file"
      accept={accept}
      multiple={multiple}
      hidden
      data-testid={testId}
      onChange={(event) => {
        onFiles([...(event.currentTarget.files ?? [])]);
        event.currentTarget.value = ""; // the same file can be chosen again
      }}
    />
  );
}
