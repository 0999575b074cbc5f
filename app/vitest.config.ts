import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.{ts,tsx}"],
    environment: "node",
    pool: "threads",
    maxWorkers: 1, // one process: starting more costs longer than the tests take
    isolate: false,
    server: { deps: { inline: [/@tensorflow/] } }, // modules of another kind than Node takes them for
    testTimeout: 30_000, // a busy machine is slow, not wrong
  },
});
