import { defineConfig, type Plugin } from "vite";

/** The policy the page carries itself; a server should send the same as a header (docs/app.md). */
export const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "media-src 'self' blob:",
  "connect-src 'self'",
  "worker-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

// In the built page only: Vite's development server needs inline scripts.
const contentSecurityPolicy: Plugin = {
  name: "content-security-policy",
  apply: "build",
  transformIndexHtml: () => [
    { tag: "meta", attrs: { "http-equiv": "Content-Security-Policy", content: POLICY }, injectTo: "head-prepend" },
  ],
};

/** What every start needs on the page is asked for at once, not when src/start.ts has run. */
const preload: Plugin = {
  name: "preload",
  apply: "build",
  transformIndexHtml: {
    order: "post",
    handler: (_, { bundle = {} }) => {
      const page = Object.values(bundle).find(({ fileName }) => /^assets\/main-/.test(fileName));
      const needed = new Set<string>();
      const need = (name: string): void => {
        const chunk = bundle[name];
        if (chunk?.type !== "chunk" || chunk.isEntry || needed.has(name)) return;
        needed.add(name);
        chunk.imports.forEach(need);
      };
      if (page !== undefined) need(page.fileName);
      const links: Record<string, string | boolean>[] = [
        ...[...needed].map((name) => ({ rel: "modulepreload", crossorigin: true, href: `./${name}` })),
        { rel: "preload", as: "fetch", crossorigin: true, href: "./bundles/index.json" },
      ];
      return links.map((attrs) => ({ tag: "link", attrs, injectTo: "head" }));
    },
  },
};

export default defineConfig({
  base: "./",
  plugins: [contentSecurityPolicy, preload],
  // Under a name of its own, so that the parity check of a bundle finds it (lentigo/export/browser.py).
  worker: { format: "es", rolldownOptions: { output: { entryFileNames: "assets/worker-[hash].js" } } },
  build: {
    outDir: process.env["LENTIGO_APP_OUT"] ?? "../lentigo/serving/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // no data: addresses
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: { checks: { pluginTimings: false } },
  },
});
