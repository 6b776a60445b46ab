/** An HTTP server on Node, of the package @effect/platform-node, for the dashboard of the command line. */
import type * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type * as Config from "effect/Config"
import type * as Effect from "effect/Effect"
import { DriverError, loaded } from "./Driver.ts"

export const nodeHttpServer: Effect.Effect<Pick<typeof NodeHttpServer, "layer">, Config.ConfigError> = loaded(
  async () => {
    try {
      return await import("@effect/platform-node/NodeHttpServer")
    } catch (cause) {
      throw new DriverError("@effect/platform-node", cause)
    }
  }
)
