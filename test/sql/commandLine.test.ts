/** The command line on Redis, Postgres and MariaDB. */
import { describe, inject } from "vitest"
import { commandLine } from "../support/commandLine.ts"
import { freshPrefix } from "./databases.ts"

const at = (url: () => string) => () => Promise.resolve({ url: url(), prefix: freshPrefix() })

describe("the command line on servers", () => {
  commandLine([
    { name: "Redis", target: at(() => inject("redisUrl")), countsInstances: true },
    { name: "Postgres", target: at(() => inject("databaseUrl")), countsInstances: false },
    { name: "MariaDB", target: at(() => inject("mysqlUrl")), countsInstances: false }
  ])
})
