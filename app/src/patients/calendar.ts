/** A reminder as an iCalendar file (RFC 5545): one event that lasts a day, for the person's own calendar. */

export interface Reminder {
  id: string;
  /** YYYY-MM-DD */
  day: string;
  summary: string;
}

const escaped = (text: string): string => text.replace(/[\\;,]/g, "\\$&").replace(/\r\n?|\n/g, "\\n");

/** Lines of at most 75 octets; the rest goes on after a space. Characters are not cut apart. */
function folded(line: string): string {
  const lines: string[] = [];
  let current = "";
  let octets = 0;
  for (const character of line) {
    const size = new TextEncoder().encode(character).length;
    if (octets + size > 75) {
      lines.push(current);
      current = " ";
      octets = 1;
    }
    current += character;
    octets += size;
  }
  return [...lines, current].join("\r\n");
}

function nextDay(day: string): string {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(Date.UTC(year, month - 1, date + 1)).toISOString().slice(0, 10);
}

const compact = (day: string): string => day.replaceAll("-", "");

export function calendarFile(reminders: readonly Reminder[], now = new Date()): string {
  const stamp = `${now.toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
  const events = reminders.flatMap(({ id, day, summary }) => [
    "BEGIN:VEVENT",
    `UID:${id.replace(/[^\w.-]/g, "_")}@lentigo`, // identities come from imported files too
    `DTSTAMP:${stamp}`,
    `DTSTART;VALUE=DATE:${compact(day)}`,
    `DTEND;VALUE=DATE:${compact(nextDay(day))}`,
    `SUMMARY:${escaped(summary)}`,
    "TRANSP:TRANSPARENT",
    "END:VEVENT",
  ]);
  const lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//lentigo//lentigo//EN", ...events, "END:VCALENDAR"];
  return lines.map((line) => `${folded(line)}\r\n`).join("");
}
