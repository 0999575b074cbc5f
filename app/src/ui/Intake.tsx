/** Ways for a photograph to come in: chosen, dropped, pasted, or taken with the camera. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { addPhotos } from "../state/session";
import { FileInput } from "./fields";
import { Icon } from "./icons";

export const cameraOpen = signal(false);

function take(files: Iterable<File>): void {
  const list = [...files].map((file) => ({ blob: file, name: file.name }));
  if (list.length > 0) void addPhotos(list);
}

interface ButtonProps {
  label: string;
  primary?: boolean;
  /** Where there is little room: the label is for screen readers and as a tooltip. */
  compact?: boolean;
}

/** A button that opens the file dialog. */
export function ChooseButton({ label, primary = false, compact = false }: ButtonProps) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button
        type="button"
        class={`button ${primary ? "button-primary" : ""} ${compact ? "button-compact" : ""}`}
        title={compact ? label : undefined}
        onClick={() => input.current!.click()}
      >
        <Icon name={primary ? "image" : "plus"} />
        <span>{label}</span>
      </button>
      <FileInput input={input} accept="image/*" multiple testId="file-input" onFiles={take} />
    </>
  );
}

export function CameraButton({ label, compact = false }: ButtonProps) {
  return (
    <button
      type="button"
      class={`button ${compact ? "button-compact" : ""}`}
      title={compact ? label : undefined}
      onClick={() => (cameraOpen.value = true)}
      data-testid="camera-button"
    >
      <Icon name="camera" />
      <span>{label}</span>
    </button>
  );
}

/** Takes images that are dropped on it, or pasted anywhere. */
export function DropArea({ class: name, children }: { class: string; children: ComponentChildren }) {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const paste = (event: ClipboardEvent): void => take(event.clipboardData?.files ?? []);
    // A file dropped beside the area must not replace the page.
    const keep = (event: DragEvent): void => event.preventDefault();
    addEventListener("paste", paste);
    addEventListener("dragover", keep);
    addEventListener("drop", keep);
    return () => {
      removeEventListener("paste", paste);
      removeEventListener("dragover", keep);
      removeEventListener("drop", keep);
    };
  }, []);
  const mark = (over: boolean): void => void element.current!.classList.toggle("drop-over", over);
  return (
    <div
      ref={element}
      class={name}
      data-testid="drop-area"
      onDragEnter={() => mark(true)}
      onDragOver={(event) => {
        event.preventDefault();
        mark(true);
      }}
      onDragLeave={(event) => {
        if (!element.current!.contains(event.relatedTarget as Node | null)) mark(false);
      }}
      onDrop={(event) => {
        event.preventDefault();
        mark(false);
        take(event.dataTransfer?.files ?? []);
      }}
    >
      {children}
    </div>
  );
}
