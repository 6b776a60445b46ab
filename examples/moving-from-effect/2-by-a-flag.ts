/** Step 2: a flag of this service says which one decides. The other one goes on as its shadow, so the way back is the flag. */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Layer } from "effect"
import { CircuitBreaker } from "effect/persistence"
import * as Compare from "../../src/interop/Compare.ts"
import * as EffectCircuitBreaker from "../../src/interop/EffectCircuitBreaker.ts"
import { RedisStorageLive } from "../../src/layers/RedisStorageLive.ts"
import { OldLive } from "./Old.ts"
import { Payments } from "./Payments.ts"
import { morning } from "./Shop.ts"

const decides = Config.Literals(["old", "new"], "PAYMENTS_BREAKER_DECIDES").pipe(Config.withDefault("old" as const))

const program = Effect.gen(function*() {
  const old = EffectCircuitBreaker.guard(yield* CircuitBreaker.CircuitBreaker, { key: "payments" })
  const payments = Compare.compare({ old, new: Payments }, { decides })
  yield* morning(payments.wrapWith({}))
  const { calls, decided } = yield* Compare.agreement(payments)
  yield* Console.log(`${yield* decides} decides: ${calls} calls compared, ${decided} mismatches`)
})

program.pipe(
  Effect.provide(Layer.merge(OldLive, Layer.provide(Payments.layer, RedisStorageLive))),
  NodeRuntime.runMain
)
