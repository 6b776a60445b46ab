/**
 * Breakers that a file and the environment configure, where each field comes from, and what is said of a mistake.
 */
import { NodeServices } from "@effect/platform-node"
import { ConfigProvider, Console, type Duration, Effect, Layer, References } from "effect"
import * as BreakerConfig from "../src/config/BreakerConfig.ts"
import { Breaker } from "../src/index.ts"

class Payments extends Breaker.Service<Payments>()("payments", {
  // Declares that calls may time out; the file says after how long.
  timeout: Breaker.unset<Duration.Input>()
}) {}

class Origins extends Breaker.KeyedService<Origins>()("http", { openFor: "10 seconds" }) {}

const file = `${import.meta.dirname}/config.yaml`

const program = Effect.gen(function*() {
  const { service } = yield* BreakerConfig.BreakerConfig
  for (const name of ["payments", "http"]) {
    const { from } = yield* service(name)
    const sources = Object.entries(from).map(([field, source]) => `${field} by ${source.replace(file, "config.yaml")}`)
    yield* Console.log(`${name}: ${sources.join(", ")}`)
  }
  const charge = Payments.wrap(Effect.fail("status 500")).pipe(
    Effect.catchTag("BreakerOpenError", ({ circuit }) => Effect.fail(`not called, because ${circuit} is open`)),
    Effect.flip
  )
  for (let i = 0; i < 3; i++) yield* Console.log(`payments: ${yield* charge}`)
})

/** The environment comes before the file. In production it is the process's own, and this layer is left out. */
const environment = (record: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnvRecord(record))

const configuredBy = (record: Record<string, string>) =>
  Layer.merge(BreakerConfig.layerFor(Payments), BreakerConfig.layerFor(Origins)).pipe(
    Layer.provide(BreakerConfig.layerStorage),
    Layer.provideMerge(BreakerConfig.layer({ file })),
    Layer.provide([NodeServices.layer, environment(record)])
  )

const main = Effect.gen(function*() {
  yield* Effect.provide(program, configuredBy({ HTTP_RECOVERY_TIMEOUT: "5" }))
  yield* Effect.provide(program, configuredBy({ PAYMENTS_FAILURE_THRESHOLD: "two", PAYMENTS_TIMEOUT: "-1" }))
})

await main.pipe(
  Effect.catchTag("BreakerConfigError", ({ message }) => Console.log(message)),
  // Without it a line says what was read.
  Effect.provideService(References.MinimumLogLevel, "Warn"),
  Effect.runPromise
)
