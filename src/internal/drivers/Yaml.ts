/** The package yaml. */
import * as Effect from "effect/Effect"
import type * as Package from "yaml"
import { DriverError } from "./Driver.ts"

export type Yaml = Pick<typeof Package, "isAlias" | "isMap" | "isScalar" | "isSeq" | "LineCounter" | "parseDocument">

/** It fails, unlike the drivers of storages, with an error of its own, because a configuration file is no `Config`. */
export const yaml: Effect.Effect<Yaml, DriverError> = Effect.tryPromise({
  try: async (): Promise<Yaml> => {
    try {
      return await import("yaml")
    } catch (cause) {
      throw new DriverError("yaml", cause)
    }
  },
  catch: (error) => error instanceof DriverError ? error : new DriverError("yaml", error)
})
