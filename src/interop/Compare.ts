/**
 * Two breakers on the same calls, one of which decides: for moving from a breaker to another one.
 *
 * The one that decides runs a call or rejects it. The other one is its shadow: it is asked for leave for each call and told how the
 * call ended, exactly as if it decided, so that it keeps the state that it would have. Where they disagree, that is counted in the
 * metric `circuit_breaker.compare.mismatches` and logged. Once they agree, a flag makes the new one decide.
 *
 * **Details**
 *
 * The shadow learns this of a call:
 *
 * | decider  | shadow          | the shadow                                                                                     |
 * | -------- | --------------- | ---------------------------------------------------------------------------------------------- |
 * | runs     | would run it    | is told how the call ended. A call that its own `timeout` would have ended has failed by then. |
 * | runs     | would reject it | counts a rejection, and is not told how the call ended, because it would not know.             |
 * | rejects  | would run it    | gets its leave back as `Ignored`, because the call says nothing about the dependency.          |
 * | rejects  | would reject it | counts a rejection.                                                                            |
 *
 * So its probes are calls that the decider ran. A call that only the decider's `timeout` has ended is `Ignored` to the shadow, because
 * its end is not known.
 *
 * The shadow can neither change a call nor delay it. If it waits for its storage, its answer is compared when it comes. Calls that
 * start before that have been decided without what this one will tell it.
 *
 * **Gotchas**
 *
 * - Give the new breaker the policy that it will have. With `enforcement: "metricsOnly"` it rejects nothing, so there is nothing to
 *   compare.
 * - On a shared storage, the shadows of all instances are a fleet, and a breaker of that name that decides belongs to it.
 * - An adapted breaker that runs a function (`Adapter.execute`) cannot be given back an unused leave. Where the decider rejects a call,
 *   it is asked by `mayI` alone, and the call is not compared where that does not know.
 *
 * **Example** (A new breaker beside an old one)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Breaker, Storage, Trip } from "effect-breaker"
 * import * as Adapter from "effect-breaker/interop/Adapter"
 * import * as Compare from "effect-breaker/interop/Compare"
 *
 * const old = Adapter.twoStep("payments", { before: () => true, success: () => {}, failure: () => {} })
 *
 * const program = Effect.gen(function*() {
 *   const payments = yield* Breaker.make("payments", { trip: Trip.consecutiveFailures(2) })
 *   const both = Compare.compare({ old, new: payments }, { decides: "old", onMismatch: () => Effect.void })
 *
 *   // The new breaker opens with the second failure, and would reject the third call.
 *   const call = both.wrapWith(Effect.fail("no"), {})
 *   yield* Effect.flip(call)
 *   yield* Effect.flip(call)
 *   yield* Effect.flip(call)
 *
 *   return yield* Compare.agreement(both)
 * }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive))
 *
 * await Effect.runPromise(program) // => { calls: 3, decided: 1, outcome: 0 }
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Scope from "effect/Scope"
import type { Guard, Permit, PermitError } from "../Guard.ts"
import type { AnyClassify } from "../internal/Call.ts"
import { Agreement } from "./internal/Agreement.ts"
import { ComparedCall } from "./internal/ComparedCall.ts"
import { comparedPermit } from "./internal/ComparedPermit.ts"
import { comparedRun } from "./internal/ComparedRun.ts"
import { flagsOf } from "./internal/CompareFlags.ts"
import type { CompareOptions, Sides } from "./internal/CompareModel.ts"

export type { CompareOptions, Mismatch, Side } from "./internal/CompareModel.ts"

const agreements: unique symbol = Symbol("effect-breaker/interop/Compare")

/**
 * A guard of two breakers. Its `circuit` is that of the new one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Compared<out Err, out Ctx> extends Guard<Err, Ctx> {
  readonly [agreements]: Agreement
}

/**
 * A guard of two breakers, of which one decides for each call. It goes wherever a breaker goes. Make it once for each circuit, because
 * it counts.
 *
 * A call can fail with the errors of either breaker, because which one decides can change while the program runs.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compare = <E1, C1, E2, C2>(
  sides: { readonly old: Guard<E1, C1>; readonly new: Guard<E2, C2> },
  options: CompareOptions = {}
): Compared<E1 | E2, C1 | C2> => {
  const flags = flagsOf(options)
  const agreement = new Agreement(options.onMismatch)
  const permit = Effect.flatMap(flags, ({ compares, decides }) =>
    compares
      ? comparedPermit((sides as Sides)[decides], new ComparedCall(sides, agreement, decides))
      : (sides as Sides)[decides].permit)
  return {
    get circuit() {
      return sides.new.circuit
    },
    [agreements]: agreement,
    wrapWith: dual(
      2,
      (self: Effect.Effect<any, any, any>, given: { readonly classify?: AnyClassify | undefined }) =>
        Effect.flatMap(flags, ({ compares, decides }): Effect.Effect<any, any, any> =>
          compares
            ? comparedRun(self, given.classify, (sides as Sides)[decides], new ComparedCall(sides, agreement, decides))
            : (sides as Sides)[decides].wrapWith(self, given))
    ),
    permit: permit as Effect.Effect<Permit, PermitError<E1 | E2>, C1 | C2 | Scope.Scope>
  }
}

/**
 * How often two breakers agreed since their guard was made: the calls about which both decided, and among them those about which they
 * disagreed, by kind.
 *
 * @category accessors
 * @since 0.1.0
 */
export const agreement = (guard: Pick<Compared<unknown, unknown>, typeof agreements>): Effect.Effect<{
  readonly calls: number
  readonly decided: number
  readonly outcome: number
}> =>
  Effect.sync(() => {
    const { calls, decided, outcome } = guard[agreements]
    return { calls, decided, outcome }
  })
