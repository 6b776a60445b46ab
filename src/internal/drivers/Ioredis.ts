/** The package ioredis. */
import type * as Config from "effect/Config"
import type * as Effect from "effect/Effect"
import type * as Package from "ioredis"
import { DriverError, loaded } from "./Driver.ts"

export type Ioredis = Pick<typeof Package, "AbstractConnector" | "Cluster" | "Redis" | "SentinelConnector">

export const ioredis: Effect.Effect<Ioredis, Config.ConfigError> = loaded(async () => {
  try {
    return await import("ioredis")
  } catch (cause) {
    throw new DriverError("ioredis", cause)
  }
})
