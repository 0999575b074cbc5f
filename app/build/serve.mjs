/**
 * A small static server for the built app: what tests, benchmarks and the parity check run against.
 *
 * It sends the compressed copies, the policy as a header and the caching that docs/app.md asks of every host.
 * Run it by hand: node build/serve.mjs [folder] [port]
 */

import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".webmanifest": "application/manifest+json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".wasm": "application/wasm",
  ".md": "text/markdown; charset=utf-8",
};

/** The policy that the page carries in its own head. */
async function policyOf(folder) {
  const page = await readFile(path.join(folder, "index.html"), "utf8");
  return /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)?.[1].replaceAll("&#39;", "'") ?? "";
}

/**
 * Serve a built app.
 *
 * @param folder the built app
 * @param options.port 0 takes a free one
 * @param options.policy replaces the page's own Content-Security-Policy
 * @returns the server, its address, and a count of the bytes of every body it sent
 */
export async function serve(folder, { port = 0, policy } = {}) {
  const csp = `${policy ?? (await policyOf(folder))}; frame-ancestors 'none'`;
  let sent = 0;
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const file = path.join(
      folder,
      path.normalize(decodeURIComponent(pathname)),
      pathname.endsWith("/") ? "index.html" : "",
    );
    const found = file.startsWith(folder) ? await stat(file).catch(() => null) : null;
    if (found === null || !found.isFile()) {
      response.writeHead(404).end();
      return;
    }
    const headers = {
      "content-type": TYPES[path.extname(file)] ?? "application/octet-stream",
      "content-security-policy": csp,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
      "cache-control": pathname.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache",
      vary: "accept-encoding",
    };
    const accepted = request.headers["accept-encoding"] ?? "";
    let body = file;
    for (const [encoding, suffix] of [
      ["br", ".br"],
      ["gzip", ".gz"],
    ]) {
      if (accepted.includes(encoding) && (await stat(file + suffix).catch(() => null))) {
        body = file + suffix;
        headers["content-encoding"] = encoding;
        break;
      }
    }
    const { size, mtimeMs } = await stat(body);
    headers.etag = `"${size}-${mtimeMs}"`;
    if (request.headers["if-none-match"] === headers.etag) {
      response.writeHead(304, headers).end();
      return;
    }
    response.writeHead(200, { ...headers, "content-length": size });
    if (request.method === "HEAD") {
      response.end();
      return;
    }
    sent += size;
    createReadStream(body).pipe(response);
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${server.address().port}/`, sent: () => sent };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const folder = path.resolve(
    process.argv[2] ?? fileURLToPath(new URL("../../lentigo/serving/static", import.meta.url)),
  );
  const { url } = await serve(folder, { port: Number(process.argv[3] ?? 8000) });
  console.log(`${folder} at ${url}`);
}
