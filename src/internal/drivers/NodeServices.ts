/** The services of a program on Node, of the package @effect/platform-node, for the command line. */
import type { NodeServices } from "@effect/platform-node/NodeServices"
import type * as Config from "effect/Config"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { DriverError, loaded } from "./Driver.ts"

export const nodeServices: Effect.Effect<{ readonly layer: Layer.Layer<NodeServices> }, Config.ConfigError> = loaded(
  async () => {
    try {
      return await import("@effect/platform-node/NodeServices")
    } catch (cause) {
      throw new DriverError("@effect/platform-node", cause)
    }
  }
)
