/** The package yaml. */
import * as Effect from "effect/Effect"
import type * as Package from "yaml"
import { DriverError } from "./Driver.ts"

export type Yaml = Pick<typeof Package, "isAlias" | "isMap" | "isScalar" | "isSeq" | "LineCounter" | "parseDocument">

const load = async (): Promise<Yaml> => {
  try {
    return await import("yaml")
  } catch (cause) {
    throw new DriverError("yaml", cause)
  }
}

/** It fails, unlike the drivers of storages, with an error of its own, because a configuration file is no `Config`. */
export const yaml: Effect.Effect<Yaml, DriverError> = Effect.tryPromise({
  try: load,
  catch: (error) => error as DriverError
})
