/** The databases of the benchmark. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { tablesOf } from "../../src/sql/Schema.ts"
import { MariaDbServer } from "../../test/support/servers/mariadb.ts"
import { PostgresServer } from "../../test/support/servers/postgres.ts"
import { temporaryDirectory } from "../../test/support/servers/processes.ts"
import { given } from "../fleet/server.ts"
import { clientOf, PREFIX } from "./contenders.ts"

export const databases = ["postgres", "mariadb", "sqlite"]

const dropTables = (database: string) => (): Promise<void> =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    for (const table of Object.values(tablesOf(PREFIX, undefined))) yield* sql`DROP TABLE IF EXISTS ${sql(table)}`
  }).pipe(Effect.provide(clientOf(database)), Effect.runPromise)

/** Starts the servers that the environment does not name, and puts their URLs into it. */
export const startServers = async (): Promise<{ readonly stop: () => Promise<void> }> => {
  const directory = await temporaryDirectory()
  const [postgres, mariadb] = await Promise.all([
    given("DATABASE_URL", () => PostgresServer.start(), dropTables("postgres")),
    given("MYSQL_URL", () => MariaDbServer.start(), dropTables("mariadb"))
  ])
  process.env["SQLITE_FILE"] = join(directory, "circuits.sqlite")
  return {
    stop: async () => {
      await Promise.all([postgres.stop(), mariadb.stop(), rm(directory, { recursive: true, force: true })])
    }
  }
}
