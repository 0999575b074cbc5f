/** Ways for a photograph to come in: chosen, dropped, pasted, or taken with the camera. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { addPhotos } from "../state/session";
import { Icon } from "./icons";

export const cameraOpen = signal(false);

function take(files: Iterable<File>): void {
  const list = [...files].map((file) => ({ blob: file, name: file.name }));
  if (list.length > 0) void addPhotos(list);
}

/** A button that opens the file dialog. */
export function ChooseButton({ primary = false, label }: { primary?: boolean; label: string }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button
        type="button"
        class={`button ${primary ? "button-primary" : ""}`}
        onClick={() => input.current!.click()}
      >
        <Icon name={primary ? "image" : "plus"} />
        {label}
      </button>
      <input
        ref={input}
        type="file"
        accept="image/*"
        multiple
        hidden
        data-testid="file-input"
        onChange={(event) => {
          take(event.currentTarget.files ?? []);
          event.currentTarget.value = ""; // the same file can be chosen again
        }}
      />
    </>
  );
}

export function CameraButton({ label }: { label: string }) {
  return (
    <button type="button" class="button" onClick={() => (cameraOpen.value = true)} data-testid="camera-button">
      <Icon name="camera" />
      {label}
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
