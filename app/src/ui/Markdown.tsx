/** A model card. Only text, never HTML, reaches the page: a card may come with a bundle from anywhere. */

import { marked, type Token, type Tokens } from "marked";
import type { ComponentChild } from "preact";

/** `marked` escapes a few characters for HTML; here text stays text. */
function unescape(text: string): string {
  return text.replace(
    /&(amp|lt|gt|quot|#39);/g,
    (_, name: string) => ({ amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" })[name]!,
  );
}

function inline(tokens: readonly Token[] | undefined): ComponentChild[] {
  return (tokens ?? []).map((token) => {
    switch (token.type) {
      case "strong":
        return <strong>{inline(token.tokens)}</strong>;
      case "em":
        return <em>{inline(token.tokens)}</em>;
      case "codespan":
        return <code>{unescape((token as Tokens.Codespan).text)}</code>;
      case "br":
        return <br />;
      case "link": {
        const { href } = token as Tokens.Link;
        if (!/^https?:/i.test(href)) return inline(token.tokens);
        return (
          <a href={href} target="_blank" rel="noreferrer noopener">
            {inline(token.tokens)}
          </a>
        );
      }
      case "image":
        return (token as Tokens.Image).text;
      default:
        return "tokens" in token && token.tokens
          ? inline(token.tokens)
          : unescape("text" in token ? String(token.text) : token.raw);
    }
  });
}

function block(token: Token): ComponentChild {
  switch (token.type) {
    case "heading": {
      const Tag = `h${Math.min((token as Tokens.Heading).depth + 2, 6)}` as "h3"; // under the page's own headings
      return <Tag>{inline(token.tokens)}</Tag>;
    }
    case "paragraph":
      return <p>{inline(token.tokens)}</p>;
    case "list": {
      const list = token as Tokens.List;
      const items = list.items.map((item) => <li>{item.tokens.map(block)}</li>);
      return list.ordered ? <ol>{items}</ol> : <ul>{items}</ul>;
    }
    case "table": {
      const table = token as Tokens.Table;
      return (
        <div class="table" tabIndex={0} role="region" aria-label={table.header.map((cell) => cell.text).join(", ")}>
          <table>
            <thead>
              <tr>
                {table.header.map((cell) => (
                  <th scope="col">{inline(cell.tokens)}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {table.rows.map((row) => (
                <tr>
                  {row.map((cell) => (
                    <td>{inline(cell.tokens)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      );
    }
    case "code":
      return <pre tabIndex={0}>{(token as Tokens.Code).text}</pre>;
    case "blockquote":
      return <blockquote>{(token.tokens ?? []).map(block)}</blockquote>;
    case "hr":
      return <hr />;
    case "space":
    case "html":
    case "def":
      return null;
    default:
      return <>{inline("tokens" in token && token.tokens ? token.tokens : [token])}</>;
  }
}

export function Markdown({ text }: { text: string }) {
  return <div class="card-text">{marked.lexer(text).map(block)}</div>;
}
