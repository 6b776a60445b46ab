/** The package mysql2. */
import type * as Config from "effect/Config"
import type * as Effect from "effect/Effect"
import type * as Package from "mysql2"
import { DriverError, loaded } from "./Driver.ts"

export type Mysql2 = Pick<typeof Package, "createPool">

export const mysql2: Effect.Effect<Mysql2, Config.ConfigError> = loaded(async () => {
  try {
    return await import("mysql2")
  } catch (cause) {
    throw new DriverError("mysql2", cause)
  }
})
