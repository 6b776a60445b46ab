// @effect-diagnostics floatingEffect:off missingEffectContext:off missingEffectError:off missingLayerContext:off
/** What a program writes to be configured by files and the environment, and the types that it gets. */
import { type Config, type Duration, Effect, type FileSystem, Layer, Schema } from "effect"
import * as BreakerConfig from "../../src/config/BreakerConfig.ts"
import { Breaker, type Storage, Trip } from "../../src/index.ts"
import { RedisStorageLive } from "../../src/layers/RedisStorageLive.ts"

type Eq<X, Y> = (<T>() => T extends X ? 1 : 2) extends (<T>() => T extends Y ? 1 : 2) ? true : false
const eq = <X, Y>(_: Eq<X, Y>) => {}

class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.consecutiveFailures(5),
  timeout: "2 seconds"
}) {}
class Mail extends Breaker.Service<Mail>()("mail", { timeout: Breaker.unset<Duration.Input>() }) {}
class Origins extends Breaker.KeyedService<Origins>()("http", { capacity: 1000, openFor: "30 seconds" }) {}

const configured = Layer.mergeAll(
  BreakerConfig.layerFor(Payments),
  BreakerConfig.layerFor(Mail),
  BreakerConfig.layerFor(Origins)
).pipe(
  Layer.provide(BreakerConfig.layerStorage),
  Layer.provide(BreakerConfig.layer({ file: "breakers.yaml" }))
)
eq<
  typeof configured,
  Layer.Layer<
    Payments | Mail | Origins,
    BreakerConfig.BreakerConfigError | Config.ConfigError,
    FileSystem.FileSystem
  >
>(true)

// PAYMENTS_FAILURE_THRESHOLD=5 PAYMENTS_RECOVERY_TIMEOUT=60 PAYMENTS_TIMEOUT=2
const byEnvironment = BreakerConfig.layerFor(Payments).pipe(Layer.provide([RedisStorageLive, BreakerConfig.layerEnv]))
eq<typeof byEnvironment, Layer.Layer<Payments, BreakerConfig.BreakerConfigError | Config.ConfigError>>(true)

// Mail declared a timeout without a value: its type has the error, and config may set one.
const mailed = Effect.succeed("sent").pipe(Mail.wrap)
eq<Effect.Error<typeof mailed>, Breaker.BreakerOpenError | Breaker.BreakerTimeoutError>(true)

const schemaForEditors = Schema.toJsonSchemaDocument(BreakerConfig.File)
const off = BreakerConfig.layerEnforcement
eq<typeof off, Layer.Layer<never, never, BreakerConfig.BreakerConfig>>(true)
const whence = BreakerConfig.BreakerConfig.use(({ service }) => service("payments"))
eq<Effect.Success<typeof whence>["data"], Breaker.Data & Breaker.KeyedOptions>(true)

// A classifier's services stay in the requirements.
declare const classify: () => Effect.Effect<Breaker.Outcome, never, "rules">
class Judged extends Breaker.Service<Judged>()("judged", { classify }) {}
eq<Layer.Services<ReturnType<typeof judged>>, Storage.Storage | BreakerConfig.BreakerConfig | "rules">(true)
const judged = () => BreakerConfig.layerFor(Judged)

const withoutStorage = mailed.pipe(
  Effect.provide(BreakerConfig.layerFor(Mail)),
  Effect.provide(BreakerConfig.layerEnv)
)
// @ts-expect-error a breaker from config has a storage, too
void Effect.runPromise(withoutStorage)
// @ts-expect-error the configuration may be wrong
const infallible: Layer.Layer<Mail, never, Storage.Storage | BreakerConfig.BreakerConfig> = BreakerConfig.layerFor(Mail)
// @ts-expect-error no such thing
BreakerConfig.layer({ unknown: "ignore" })
