/** Before: Effect's own breaker decides, alone. */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { OldLive } from "./Old.ts"
import { morning } from "./Shop.ts"

const program = Effect.gen(function*() {
  const breaker = yield* CircuitBreaker.CircuitBreaker
  yield* morning(breaker.execute({ key: "payments" }))
})

program.pipe(Effect.provide(OldLive), NodeRuntime.runMain)
