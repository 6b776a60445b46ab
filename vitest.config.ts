import { defineConfig } from "vitest/config"
import { HANG_MILLIS } from "./test/support/machine.ts"

/** These limits only end a test that hangs. No test fails because it is slow. */
const limits = { testTimeout: HANG_MILLIS, hookTimeout: HANG_MILLIS, teardownTimeout: HANG_MILLIS }

/** The folders of tests that need servers. */
const withServers = ["browser", "redis", "sql", "fleet", "combine/servers", "interop/servers"]

const serversAreGiven = ["REDIS_URL", "DATABASE_URL", "MYSQL_URL"].some((name) => (process.env[name] ?? "") !== "")

export default defineConfig({
  test: {
    silent: "passed-only",
    maxWorkers: "100%",
    projects: [
      {
        test: {
          name: "unit",
          ...limits,
          include: ["test/**/*.test.ts"],
          exclude: ["packaging", "sim", ...withServers].map((folder) => `test/${folder}/**`)
        }
      },
      {
        test: {
          name: "sim",
          include: ["test/sim/**/*.test.ts"],
          ...limits
        }
      },
      {
        test: {
          name: "servers",
          include: withServers.map((folder) => `test/${folder}/**/*.test.ts`),
          globalSetup: ["test/support/servers/setup.ts"],
          ...limits,
          // Each worker has servers of its own. Servers that are given are shared, so then one file runs at a time.
          maxWorkers: serversAreGiven ? 1 : 2,
          sequence: { groupOrder: 1 }
        }
      },
      {
        test: {
          name: "packaging",
          include: ["test/packaging/**/*.test.ts"],
          globalSetup: ["test/packaging/pack.ts"],
          ...limits
        }
      }
    ]
  }
})
