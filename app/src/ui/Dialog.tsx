/** A modal dialog: the browser's own element, which traps the focus and closes on Escape. */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import { dialogOpened, newDialog } from "../state/notices";
import { Icon } from "./icons";
import { Notices } from "./Notices";

interface Props {
  title: string;
  /** Called on Escape and by the close button; without it the dialog has to be answered. */
  onClose?: () => void;
  class?: string;
  children: ComponentChildren;
}

export function Dialog({ title, onClose, class: name = "", children }: Props) {
  const element = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const [opened] = useState(newDialog);
  useLayoutEffect(() => dialogOpened(opened), []);
  useEffect(() => {
    const before = document.activeElement;
    const dialog = element.current!;
    dialog.showModal();
    // Browsers close a dialog on the second Escape whatever the page says: then it is open again, or really closed.
    const closed = (): void => (onClose ? onClose() : dialog.showModal());
    dialog.addEventListener("close", closed);
    return () => {
      dialog.removeEventListener("close", closed);
      dialog.close();
      // The browser gives the focus back only while the dialog is still in the page, and what had it may be gone.
      queueMicrotask(() => {
        if (document.querySelector("dialog[open]") !== null) return;
        const target = before?.isConnected && before !== document.body ? before : document.getElementById("main");
        if (target instanceof HTMLElement) target.focus();
      });
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={`dialog ${name}`}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        onClose?.();
      }}
    >
      <header class="dialog-head">
        <h2 id={titleId}>{title}</h2>
        {onClose && (
          <button type="button" class="icon-button" aria-label={t("close")} onClick={onClose}>
            <Icon name="close" />
          </button>
        )}
      </header>
      <Notices dialog={opened} />
      {children}
    </dialog>
  );
}

/** A yes-or-no question before something is lost. */
export function Confirm(props: {
  title: string;
  text: string;
  action: string;
  onConfirm: () => void;
  onClose: () => void;
}) {
  return (
    <Dialog title={props.title} onClose={props.onClose} class="dialog-narrow">
      <p>{props.text}</p>
      <div class="actions">
        <button type="button" class="button" onClick={props.onClose}>
          {t("cancel")}
        </button>
        <button
          type="button"
          class="button button-danger"
          onClick={() => {
            props.onConfirm();
            props.onClose();
          }}
        >
          {props.action}
        </button>
      </div>
    </Dialog>
  );
}
