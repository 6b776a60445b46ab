import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    silent: "passed-only",
    projects: [
      {
        test: {
          name: "unit",
          // What a machine that is shared takes, too.
          testTimeout: 30_000,
          include: ["test/**/*.test.ts"],
          exclude: ["packaging", "sim", "redis", "sql", "fleet", "combine/servers"].map((folder) => `test/${folder}/**`)
        }
      },
      {
        test: {
          name: "sim",
          include: ["test/sim/**/*.test.ts"],
          testTimeout: 120_000
        }
      },
      {
        test: {
          name: "servers",
          include: ["redis", "sql", "fleet", "combine/servers"].map((folder) => `test/${folder}/**/*.test.ts`),
          globalSetup: ["test/support/servers/setup.ts"],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          // What they measure is theirs alone to disturb.
          fileParallelism: false
        }
      },
      {
        test: {
          name: "packaging",
          include: ["test/packaging/**/*.test.ts"],
          globalSetup: ["test/packaging/pack.ts"],
          testTimeout: 180_000,
          hookTimeout: 180_000
        }
      }
    ]
  }
})
