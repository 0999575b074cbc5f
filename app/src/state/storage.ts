/** Small settings in `localStorage`, which private windows may refuse: then they last as long as the page. */

export function readSetting(key: string): string | null {
  try {
    return localStorage.getItem(`lentigo.${key}`);
  } catch {
    return null;
  }
}

export function writeSetting(key: string, value: string): void {
  try {
    localStorage.setItem(`lentigo.${key}`, value);
  } catch {
    // refused: the setting holds for this page only
  }
}
