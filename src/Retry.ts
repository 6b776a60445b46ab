/**
 * Retries of calls that go through a breaker: which errors are retried, how long a retry waits, and when there are too many retries.
 *
 * `notRejected` and `budget` are for the option `while` of `Effect.retry`, and `afterRejection` is for its `schedule`. `retryTransient`
 * of `effect-breaker/http/HttpClient` takes a budget as `budget`.
 *
 * Put the breaker inside the retry, so that it is asked for each attempt and counts each attempt.
 *
 * **Example** (A budget of retries)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Breaker, Storage } from "effect-breaker"
 * import * as Retry from "effect-breaker/Retry"
 *
 * let attempts = 0
 *
 * const program = Effect.gen(function*() {
 *   const search = yield* Breaker.make("search-with-a-budget", {})
 *   const budget = yield* Retry.budget(search, { tokens: 4 })
 *   const query = search.wrap(Effect.suspend(() => Effect.fail(`attempt ${++attempts} failed`)))
 *   return yield* query.pipe(Effect.retry({ times: 100, while: budget.while }), Effect.flip)
 * }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive))
 *
 * await Effect.runPromise(program) // => "attempt 2 failed"
 * ```
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import type { Statistics } from "./Event.ts"
import { rejectionIn, saysNotCalled } from "./internal/CarriedError.ts"
import { countIn, fieldsIn, refuse } from "./internal/Check.ts"

// -----------------------------------------------------------------------------
// rejections
// -----------------------------------------------------------------------------

/**
 * The predicate of `Effect.retry({ while: Retry.notRejected })`: retries unless the call was rejected. The call's own errors and
 * a timeout of the breaker are retried. A `BreakerOpenError`, a `BulkheadFullError` and a `StorageError` are not, because the
 * call was not made; nor is an error that carries one of them as its cause.
 *
 * @category guards
 * @since 0.1.0
 */
export const notRejected = <E>(error: E): boolean => !saysNotCalled(error)

/**
 * How long a rejection asks to wait: the `retryAfter` of a `BreakerOpenError`, also of one that is the cause of another error. It is
 * `undefined` for every other error, for a circuit that sheds a share of its calls (`Throttled`), because the next one may get through,
 * and for a circuit that is forced open without an end.
 *
 * @category accessors
 * @since 0.1.0
 */
export const waitOf = (error: unknown): Duration.Duration | undefined => {
  const rejection = rejectionIn(error)
  return rejection?._tag === "BreakerOpenError" ? rejection.retryAfter : undefined
}

/** The most that is added to `retryAfter`, as a share of it. */
const MOST_JITTER = 0.1

/**
 * Makes a schedule wait for as long as a rejection asks. The delay after a `BreakerOpenError` is its `retryAfter` and up to a tenth of
 * it at random, so that callers do not come back together. Where the schedule's own delay is longer than `retryAfter`, and after every
 * other error, the delay is the schedule's.
 *
 * The wait is slept on Effect's `Clock`, and a rejection is one recurrence of the schedule like any other error.
 *
 * **Gotchas**
 *
 * Give it a schedule that has a delay of its own. A rejection by a full bulkhead, by a circuit that sheds a share of its calls
 * (`state` is `Throttled`), or by an operator without an end, has no `retryAfter`, and a circuit that ramps up after closing has one
 * of zero. Retries of calls that were shed are requests, too, so the share grows with them: let a `budget` stop them.
 *
 * @category combinators
 * @since 0.1.0
 */
export const afterRejection = <Out, In, E, R>(
  schedule: Schedule.Schedule<Out, In, E, R>
): Schedule.Schedule<Out, In, E, R> =>
  Schedule.modifyDelay(schedule, ({ duration, input }) => {
    const wait = waitOf(input)
    if (wait === undefined || Duration.isLessThanOrEqualTo(wait, duration)) return Effect.succeed(duration)
    // Rounded up, because a timer cuts off parts of a millisecond, and the circuit would refuse the attempt that comes too early.
    return Effect.map(
      Random.next,
      (random) => Duration.millis(Math.ceil(Duration.toMillis(wait) * (1 + MOST_JITTER * random)))
    )
  })

// -----------------------------------------------------------------------------
// budgets
// -----------------------------------------------------------------------------

/**
 * - `tokens`: the most tokens that a budget has, and how many it has at the start. A failure costs one. While half of them or less are
 *   left, nothing is retried. A whole number from 1 to 1,000,000; default 10.
 * - `perSuccess`: how many tokens a success gives back, from 0.001 to 1000, in steps of 0.001. Default 0.1: retries stop where, for
 *   long enough, more than one attempt in eleven fails.
 *
 * @category models
 * @since 0.1.0
 */
export interface BudgetOptions {
  readonly tokens?: number | undefined
  readonly perSuccess?: number | undefined
}

/**
 * A budget of retries, which all calls that use it share.
 *
 * - `while`: for `Effect.retry`. Whether more than half of the tokens are left, and the call was made (`notRejected`).
 * - `tokens`: how many tokens are left.
 *
 * @category models
 * @since 0.1.0
 */
export interface Budget {
  readonly while: (error: unknown) => Effect.Effect<boolean>
  readonly tokens: Effect.Effect<number>
}

/** Tokens are counted in thousandths, as gRPC does, because sums of 0.1 are not exact. */
const ONE_TOKEN = 1000

/** In thousandths, they and what is added to them stay safe integers. */
const MOST_TOKENS = 1_000_000
const MOST_PER_SUCCESS = 1000

/**
 * A budget of retries from what a circuit counts: retries stop while too many calls fail, and start again by themselves once calls
 * succeed. It is gRPC's throttling of retries (proposal A6), with the same defaults. Without it, each retry of each caller is more
 * load for a dependency that fails from too much load.
 *
 * It is computed when it is asked, so no call pays for it. Every success and failure of the circuit in this instance counts, whether or
 * not its caller retries. What is ignored or rejected does not count. Make one budget for a circuit and share it.
 *
 * For a circuit of a keyed breaker, pass `breaker.get(key)`: each key has a budget of its own.
 *
 * **Gotchas**
 *
 * - Put the breaker inside the retry. Outside, it counts one outcome for all attempts, and the failures of the attempts cost nothing.
 * - Under an operator's `Disabled` a circuit counts nothing, so the budget stays as it was.
 * - Between two times that it is asked, the order of the outcomes is known only for the last ones of a kind. The ones before are taken
 *   as spread evenly. It is exact where each failure is followed by a question, as in a retry.
 * - An option out of its range is a defect.
 *
 * @category constructors
 * @since 0.1.0
 */
export const budget = (
  breaker: { readonly snapshot: Effect.Effect<{ readonly statistics: Statistics }> },
  options: BudgetOptions = {}
): Effect.Effect<Budget> =>
  Effect.gen(function*() {
    const { perSuccess, tokens } = checked(options)
    const most = tokens * ONE_TOKEN
    const gain = Math.round(perSuccess * ONE_TOKEN)
    const within = (amount: number): number => Math.min(most, Math.max(0, amount))
    let left = most
    let seen = (yield* breaker.snapshot).statistics

    const take = (now: Statistics): number => {
      const { failure, failuresAtEnd, success, successesAtEnd } = since(seen, now)
      seen = now
      const beforeEnd = within(left + (success - successesAtEnd) * gain - (failure - failuresAtEnd) * ONE_TOKEN)
      left = within(beforeEnd + successesAtEnd * gain - failuresAtEnd * ONE_TOKEN)
      return left
    }
    // One at a time, because an older reading that is taken after a newer one would look like a circuit that started again.
    const oneAtATime = yield* Semaphore.make(1)
    const current = oneAtATime.withPermit(Effect.map(breaker.snapshot, ({ statistics }) => take(statistics)))
    return {
      while: (error) => notRejected(error) ? Effect.map(current, (left) => left > most / 2) : Effect.succeed(false),
      tokens: Effect.map(current, (left) => left / ONE_TOKEN)
    }
  })

const checked = (options: BudgetOptions): { readonly tokens: number; readonly perSuccess: number } => {
  const { perSuccess = 0.1, tokens = 10 } = options
  refuse("Retry.budget", [
    ...fieldsIn("", options, ["tokens", "perSuccess"]),
    ...countIn("tokens", tokens, 1, MOST_TOKENS),
    ...(perSuccess >= 1 / ONE_TOKEN && perSuccess <= MOST_PER_SUCCESS
      ? []
      : [{ field: "perSuccess", value: perSuccess, range: `a number from ${1 / ONE_TOKEN} to ${MOST_PER_SUCCESS}` }])
  ])
  return { tokens, perSuccess }
}

/** The outcomes between two readings, and how many of them, at the end, were all failures or all successes. */
const since = (before: Statistics, now: Statistics) => {
  // The circuit of a key that was evicted and is used again has counted from zero.
  const isAnother = now.success < before.success || now.failure < before.failure
  const success = isAnother ? now.success : now.success - before.success
  const failure = isAnother ? now.failure : now.failure - before.failure
  // A failure that opens the circuit ends the streak, and still no success has come after it.
  const streak = Math.max(now.consecutiveFailures, now.consecutiveSuccesses === 0 ? 1 : 0)
  const failuresAtEnd = Math.min(failure, streak)
  const successesAtEnd = failuresAtEnd > 0 ? 0 : Math.min(success, now.consecutiveSuccesses)
  return { success, failure, failuresAtEnd, successesAtEnd }
}
