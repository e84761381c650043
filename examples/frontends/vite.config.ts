import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    environment: "jsdom",
    include: ["test/*.test.{ts,tsx}"],
    testTimeout: 60_000,
    // One file after the other: Vitest gives up on workers that take a minute to start on a busy machine.
    fileParallelism: false,
    pool: "threads",
  },
});
