/**
 * Drives a real breaker into a state, so that a test begins where it matters: open, ready for a probe, or with a full bulkhead.
 *
 * These take permits and settle them, so `classify` has no say, nothing is called and no time passes but where a helper says so.
 *
 * **Example** (A circuit that is about to probe)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Breaker, Storage } from "effect-breaker"
 * import { Drive } from "effect-breaker/testing"
 * import { TestClock } from "effect/testing"
 *
 * class Payments extends Breaker.Service<Payments>()("payments", { openFor: "30 seconds" }) {}
 *
 * const program = Effect.gen(function*() {
 *   const payments = yield* Payments
 *   yield* Drive.untilProbe(payments)
 *   yield* Payments.wrap(Effect.succeed("charged"))
 *   return yield* payments.state
 * }).pipe(Effect.provide(Payments.layer), Effect.provide(Storage.MemoryStorageLive), Effect.provide(TestClock.layer()))
 *
 * await Effect.runPromise(program) // => "Closed"
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { Breaker } from "../Breaker.ts"
import type { Permit } from "../Guard.ts"
import * as Outcome from "../Outcome.ts"

/** More calls than any sensible policy looks at. */
const MOST_CALLS = 10_000

/**
 * Lets calls fail until the circuit is open; none where it is open already.
 *
 * `takes` is how long each of them takes, by `TestClock`, for a policy that trips on slow calls. Default: no time passes.
 *
 * **Gotchas**
 *
 * It dies where the circuit does not open: under an override, under `metricsOnly`, or where 10,000 failures are not enough for the
 * policy. The defect says how the circuit stands.
 *
 * @category combinators
 * @since 0.1.0
 */
export const open = <Err>(
  breaker: Breaker<Err>,
  { takes }: { readonly takes?: Duration.Input | undefined } = {}
): Effect.Effect<void> =>
  Effect.gen(function*() {
    for (let calls = 0; calls < MOST_CALLS; calls++) {
      if ((yield* breaker.state) === "Open") return
      yield* Effect.scoped(Effect.gen(function*() {
        const permit = yield* permitOf(breaker, "open")
        if (takes !== undefined) yield* TestClock.adjust(takes)
        yield* permit.settle(Outcome.failure())
      }))
    }
    return yield* stuck(breaker, "open", `it is not open after ${MOST_CALLS} failures`)
  })

/**
 * Opens the circuit as `open` does, and moves `TestClock` on to the end of the open time. The next call is a probe. Until then the
 * state is still `Open`, because reading it changes nothing.
 *
 * @category combinators
 * @since 0.1.0
 */
export const untilProbe = <Err>(
  breaker: Breaker<Err>,
  options?: { readonly takes?: Duration.Input | undefined }
): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* open(breaker, options)
    const { retryAfter = Duration.zero } = yield* breaker.snapshot
    yield* TestClock.adjust(retryAfter)
  })

/**
 * Takes permits until the circuit has no place for another call, and holds them until the scope closes. Then they are given back, as
 * `Ignored`. It returns how many it took.
 *
 * **Gotchas**
 *
 * It dies where the policy has no `maxConcurrent`, or the circuit refuses calls for another reason.
 *
 * @category combinators
 * @since 0.1.0
 */
export const fill = <Err>(breaker: Breaker<Err>): Effect.Effect<number, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { maxConcurrent } = yield* breaker.policy
    if (maxConcurrent === undefined) return yield* stuck(breaker, "fill", "its policy has no maxConcurrent")
    const { concurrent } = yield* breaker.snapshot
    const free = Math.max(0, maxConcurrent - concurrent)
    for (let taken = 0; taken < free; taken++) yield* permitOf(breaker, "fill")
    return free
  })

const permitOf = <Err>(breaker: Breaker<Err>, helper: string): Effect.Effect<Permit, never, Scope.Scope> =>
  Effect.catchCause(breaker.permit, (cause) => stuck(breaker, helper, `it refuses calls: ${String(cause)}`))

const stuck = <Err>(breaker: Breaker<Err>, helper: string, why: string): Effect.Effect<never> =>
  Effect.flatMap(breaker.snapshot, ({ state, whyNot }) =>
    Effect.die(
      new Error(
        `Drive.${helper}: circuit ${JSON.stringify(breaker.circuit)} is ${state}, and ${why}${
          whyNot === undefined ? "" : ` (${whyNot})`
        }`
      )
    ))
