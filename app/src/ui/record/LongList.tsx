/** The beginning of a long list, and more of it when it is asked for: a thousand cards at once take seconds. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { t } from "../../i18n";

const PAGE = 30;

interface Props<Item> {
  items: readonly Item[];
  children: (item: Item) => ComponentChildren;
}

export function LongList<Item>({ items, children }: Props<Item>) {
  const most = useSignal(PAGE);
  const rest = items.length - most.value;
  return (
    <>
      <ul class="case-list">{items.slice(0, most.value).map(children)}</ul>
      {rest > 0 && (
        <button type="button" class="button" onClick={() => (most.value += PAGE)} data-testid="show-more">
          {t("showMore", { count: rest })}
        </button>
      )}
    </>
  );
}
