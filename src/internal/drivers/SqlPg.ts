/** The package @effect/sql-pg. */
import type * as Client from "@effect/sql-pg/PgClient"
import type * as Connection from "@effect/sql-pg/PgConnection"
import type * as Config from "effect/Config"
import type * as Effect from "effect/Effect"
import { DriverError, loaded } from "./Driver.ts"

export interface SqlPg {
  readonly PgClient: typeof Client
  readonly PgConnection: typeof Connection
}

export const sqlPg: Effect.Effect<SqlPg, Config.ConfigError> = loaded(async () => {
  try {
    const PgClient = await import("@effect/sql-pg/PgClient")
    const PgConnection = await import("@effect/sql-pg/PgConnection")
    return { PgClient, PgConnection }
  } catch (cause) {
    throw new DriverError("@effect/sql-pg", cause)
  }
})
