/** Step 1: both see every call, and the old one decides. What the new one would have done otherwise is logged. */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { Breaker, Trip } from "../../src/index.ts"
import * as Compare from "../../src/interop/Compare.ts"
import * as EffectCircuitBreaker from "../../src/interop/EffectCircuitBreaker.ts"
import { RedisStorageLive } from "../../src/layers/RedisStorageLive.ts"
import { OldLive } from "./Old.ts"
import { morning } from "./Shop.ts"

/** Two failures are too few, and the log will say so. */
class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.consecutiveFailures(2),
  openFor: "300 millis"
}) {}

const program = Effect.gen(function*() {
  const old = EffectCircuitBreaker.guard(yield* CircuitBreaker.CircuitBreaker, { key: "payments" })
  const payments = Compare.compare({ old, new: Payments }, {
    decides: "old",
    onMismatch: (mismatch) => Console.log(`old: ${mismatch.old}, new: ${mismatch.new}, ${mismatch.reasons.new}`)
  })
  yield* morning(payments.wrapWith({}))
  const { calls, decided } = yield* Compare.agreement(payments)
  yield* Console.log(`${calls} calls compared, ${decided} mismatch`)
})

program.pipe(
  Effect.provide(Layer.merge(OldLive, Layer.provide(Payments.layer, RedisStorageLive))),
  NodeRuntime.runMain
)
