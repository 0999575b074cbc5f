import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.{ts,tsx}"],
    environment: "node",
    pool: "threads",
    maxWorkers: 1, // one process: starting more costs longer than the tests take
    isolate: false,
    testTimeout: 30_000, // a busy machine is slow, not wrong
  },
});
