/** What the dashboard and the command line accept. Compiled, and never run. */
import { Config, Effect, Layer } from "effect"
import type { HttpRouter } from "effect/http"
import * as Cli from "../../src/cli/Cli.ts"
import * as Dashboard from "../../src/dashboard/Dashboard.ts"
import { RedisStorageLive } from "../../src/layers/RedisStorageLive.ts"

export const board: Layer.Layer<never, Config.ConfigError, HttpRouter.HttpRouter> = Dashboard.layerConfig({
  title: Config.succeed("Shop"),
  token: Config.Redacted("CIRCUIT_BREAKER_DASHBOARD_TOKEN")
}).pipe(Layer.provide(RedisStorageLive))

export const own = Dashboard.layerWith({
  authorize: ({ headers }) =>
    Effect.succeed(headers["x-user"] === undefined ? null : { actor: headers["x-user"], may: "act" as const })
})

export const myCli: Effect.Effect<0 | 1 | 2 | 3 | 4> = Cli.run({
  storage: RedisStorageLive,
  argv: ["ls", "--fail-on", "open", "--json"]
})

export const wrong = [
  // @ts-expect-error a token is a secret
  Dashboard.layer({ token: "s3cret" }),
  // @ts-expect-error whoever acts has a name
  Dashboard.layerWith({ authorize: () => Effect.succeed({ may: "act" as const }) })
]
