/**
 * Adapters for a breaker that the application already has. It goes wherever a breaker goes, so that either can be behind one client,
 * and both can be compared (`interop/Compare`). `opossum` and `cockatiel` adapt breakers of these packages, `execute` any that runs a
 * function, `twoStep` any other.
 *
 * **Example** (A breaker in two steps behind an HTTP client)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { HttpClient, HttpClientResponse } from "effect/http"
 * import * as BreakerHttpClient from "effect-breaker/http/HttpClient"
 * import * as Adapter from "effect-breaker/interop/Adapter"
 *
 * let failures = 0
 * const mine = Adapter.twoStep("mine", {
 *   before: () => failures < 2,
 *   success: () => {
 *     failures = 0
 *   },
 *   failure: () => {
 *     failures++
 *   }
 * })
 *
 * const sick = HttpClient.make((request) =>
 *   Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, { status: 503 })))
 * )
 * const client = BreakerHttpClient.withBreaker(sick, mine)
 *
 * const program = Effect.gen(function*() {
 *   yield* client.get("https://api.test")
 *   yield* client.get("https://api.test")
 *   return yield* Effect.flip(client.get("https://api.test"))
 * }).pipe(Effect.map((error) => error._tag))
 *
 * await Effect.runPromise(program) // => "ForeignOpenError"
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import { hasProperty } from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { Guard, Permit } from "../Guard.ts"
import { CallDetails } from "../internal/CallDetails.ts"
import { monotonicNow } from "../internal/Clock.ts"
import { type Explained, judge, type Judges } from "../internal/Judge.ts"
import { unhandled } from "../internal/Log.ts"
import { messages } from "../internal/Messages.ts"
import * as Outcome from "../Outcome.ts"
import type { Classify } from "../Policy.ts"

/**
 * The call was not made, because the other breaker refused it. When to come back is not known.
 *
 * @category errors
 * @since 0.1.0
 */
export class ForeignOpenError
  extends Schema.TaggedError<ForeignOpenError>("effect-breaker/interop/ForeignOpenError")("ForeignOpenError", {
    circuit: Schema.String
  }, { httpApiStatus: 503 })
{
  override get message(): string {
    return `Circuit ${JSON.stringify(this.circuit)} refused the call`
  }

  /** A rejection tells an outer breaker nothing about its own dependency. */
  get [Outcome.outcome](): Outcome.Outcome {
    return Outcome.ignored
  }
}

/**
 * A call, as far as the adapter's place knows it: an HTTP client gives `url` and `method`, and `status` where there was a response.
 *
 * @category models
 * @since 0.1.0
 */
export interface Call {
  readonly circuit: string
  readonly url?: string | undefined
  readonly method?: string | undefined
  readonly status?: number | undefined
}

type Told = void | Effect.Effect<void>

/**
 * A breaker in two steps.
 *
 * `before` says whether a call may be made. If it says no, nothing else is called; else exactly one of the others follows. Each
 * returns at once or an effect that cannot fail. If one throws or dies, that is logged at `References.UnhandledLogLevel`, and the call
 * goes on as if it had said yes.
 *
 * @category models
 * @since 0.1.0
 */
export interface TwoStep {
  readonly before: (call: Call) => boolean | Effect.Effect<boolean>
  readonly success: (call: Call, duration: Duration.Duration) => Told
  /** `error`: what the call failed with, or its response where that was the failure. */
  readonly failure: (call: Call, error: unknown, duration: Duration.Duration) => Told
  /** After an interruption, and an outcome that says nothing about the dependency. Default: it is not told. */
  readonly ignored?: ((call: Call, duration: Duration.Duration) => Told) | undefined
  /** Whether a call may be made now, without a request for one; `undefined` where that is not known. Default: not known. */
  readonly mayI?: MayI | undefined
}

/** Whether a call may be made now; `undefined` where that is not known. */
type MayI = () => boolean | undefined

/**
 * An adapted breaker. `mayI` is the one that it was given.
 *
 * @category models
 * @since 0.1.0
 */
export interface Adapted extends Guard<ForeignOpenError, never> {
  readonly mayI: MayI | undefined
}

/**
 * Adapts a breaker in two steps. The outcome of a call is that of `classify`, or of `Outcome.fromExit`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const twoStep = (circuit: string, breaker: TwoStep): Adapted =>
  adapted(
    circuit,
    Effect.gen(function*() {
      const call: Call = { circuit, ...(yield* CallDetails) }
      const mayRun = yield* Effect.catchCause(
        settled(() => breaker.before(call)),
        (cause) => Effect.as(report(cause), true)
      )
      if (!mayRun) return yield* new ForeignOpenError({ circuit })
      const startedAt = yield* monotonicNow
      return (exit: Exit.Exit<unknown, unknown>, outcome: Outcome.Outcome) =>
        Effect.flatMap(monotonicNow, (now) => tell(breaker, call, exit, outcome, Duration.millis(now - startedAt)))
    }),
    breaker.mayI
  )

/**
 * Adapts a breaker that runs a function and returns a promise of what it returned: `(call) => policy.execute(call)`.
 *
 * The function returns a promise that rejects with the call's error where the outcome of the call is a `Failure`, and is fulfilled in
 * all other cases, so that the breaker's own filters of errors and results see what they saw before. If `execute` rejects without
 * having run it and `isRejection` says that this is a rejection, or answers without having run it, the call is not made.
 * Any other error before the call is logged at `References.UnhandledLogLevel`, and the call is made.
 *
 * **Gotchas**
 *
 * - A promise has no third ending: an `Ignored` outcome, such as an interruption, is a success to that breaker.
 * - The result is always the call's own. A timeout of that breaker counts there, and the call goes on: bound it by `Effect.timeout`.
 * - A fallback, a cache or coalescing of that breaker answers without a call, which is a rejection here. Keep them outside.
 * - The function may be run once. A policy that retries gets the ending of the first run again: retry with `Effect.retry`.
 * - `execute` may wait before it runs the function. A call that is interrupted meanwhile is not made, and ends there as a success.
 *
 * @category constructors
 * @since 0.1.0
 */
export const execute = (circuit: string, options: {
  readonly execute: <A>(call: () => Promise<A>) => Promise<A>
  /** Whether an error of `execute` says that it did not run the function. It is not asked for others. */
  readonly isRejection: (error: unknown) => boolean
  readonly mayI?: MayI | undefined
}): Adapted =>
  // No leave can be given back to it unused, so whoever only compares has to ask `mayI`.
  adapted(circuit, executing(circuit, options), options.mayI ?? (() => undefined))

/**
 * Adapts a breaker of the package opossum, made with `new CircuitBreaker((call) => call(), options)`. Its error filter goes on working.
 *
 * **Gotchas**
 *
 * Give it `timeout: false`, because its timeout does not end a call: use `Effect.timeout`, or the `timeout` of our policy. It must have no
 * fallback, `cache` or `coalesce`. See `execute` for the rest.
 *
 * @category constructors
 * @since 0.1.0
 */
export const opossum = (circuit: string, breaker: {
  readonly fire: (call: () => Promise<any>) => Promise<any>
  readonly opened: boolean
  readonly halfOpen: boolean
  /** Whether it is half-open and its probe has not begun. */
  readonly pendingClose?: boolean | undefined
}): Adapted =>
  execute(circuit, {
    execute: (call) => breaker.fire(call),
    isRejection: (error) => hasProperty(error, "code") && OPOSSUM_REJECTIONS.includes(error.code as string),
    mayI: () => breaker.halfOpen ? breaker.pendingClose : !breaker.opened
  })

const OPOSSUM_REJECTIONS: ReadonlyArray<string> = ["EOPENBREAKER", "ESEMLOCKED", "ESHUTDOWN"]

/**
 * Adapts a `circuitBreaker(…)` of the package cockatiel, or a `wrap(…)` that has one. Rejections of a bulkhead in it are
 * `ForeignOpenError`, too.
 *
 * **Gotchas**
 *
 * While it is half-open, cockatiel lets calls beyond its probes wait for the decision, so they wait here. A retry, timeout or fallback
 * in the `wrap` does not fit: see `execute`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const cockatiel = (circuit: string, policy: {
  readonly execute: (call: () => Promise<any>) => Promise<any>
  /** Its numeric enum: 0 is closed. */
  readonly state?: number
}): Adapted =>
  execute(circuit, {
    execute: (call) => policy.execute(call),
    isRejection: (error) => hasProperty(error, "isBrokenCircuitError") || hasProperty(error, "isBulkheadRejectedError"),
    // Of 1 (open) and 2 (half-open) it does not say whether a call would run; 3 is isolated.
    mayI: () => policy.state === 0 ? true : policy.state === 3 ? false : undefined
  })

// -----------------------------------------------------------------------------
// what the adapters share
// -----------------------------------------------------------------------------

/** Tells the breaker how a call ended that it let through. */
type End = (exit: Exit.Exit<unknown, unknown>, outcome: Outcome.Outcome) => Effect.Effect<void>

const adapted = (
  circuit: string,
  enter: Effect.Effect<End, ForeignOpenError>,
  mayI: MayI | undefined
): Adapted & Judges => ({
  circuit,
  mayI,
  [judge]: (exit: Exit.Exit<unknown, unknown>) => Outcome.fromExit(exit),
  wrapWith: dual(
    2,
    <A, E, R, R2>(self: Effect.Effect<A, E, R>, options: { readonly classify?: Classify<A, E, R2> | undefined }) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(
          restore(enter),
          (end) =>
            Effect.flatMap(Effect.exit(restore(self)), (exit) =>
              Effect.flatMap(outcomeOf(exit, options.classify), (outcome) =>
                Effect.andThen(end(exit, outcome), exit)))
        )
      )
  ),
  permit: Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(enter), (end) => {
      let isSettled = false
      const settle = (exit: Exit.Exit<unknown, unknown>, outcome: Outcome.Outcome) =>
        Effect.suspend(() => {
          if (isSettled) return Effect.succeed(false)
          isSettled = true
          return Effect.as(end(exit, outcome), true)
        })
      const permit: Permit & Explained = {
        circuit,
        probe: false,
        remaining: undefined,
        timeout: undefined,
        settle: (outcome) => settle(Exit.void, outcome),
        settleExit: (exit) => settle(exit, Outcome.fromExit(exit)),
        // Its holder has what `classify` needs in its context.
        settleBy: (classify, exit) =>
          Effect.flatMap(outcomeOf(exit, classify as Classify<unknown, unknown> | undefined), (outcome) =>
            settle(exit, outcome))
      }
      return Effect.as(
        Effect.flatMap(Effect.scope, (scope) =>
          Scope.addFinalizer(scope, permit.settle(Outcome.ignored))),
        permit
      )
    })
  )
})

const settled = <A, R = never>(f: () => A | Effect.Effect<A, never, R>): Effect.Effect<A, never, R> =>
  Effect.suspend(() => {
    const result = f()
    return Effect.isEffect(result) ? result : Effect.succeed(result)
  })

const outcomeOf = <A, E, R>(
  exit: Exit.Exit<A, E>,
  classify: Classify<A, E, R> | undefined
): Effect.Effect<Outcome.Outcome, never, R> =>
  classify === undefined
    ? Effect.succeed(Outcome.fromExit(exit))
    : Effect.catchCause(settled<Outcome.Outcome, R>(() => classify(exit)), (cause) =>
      Effect.as(report(cause), Outcome.ignored))

const tell = (
  breaker: TwoStep,
  { circuit, method, url }: Call,
  exit: Exit.Exit<unknown, unknown>,
  outcome: Outcome.Outcome,
  duration: Duration.Duration
): Effect.Effect<void> => {
  const value = Exit.isSuccess(exit) ? exit.value : undefined
  const status = hasProperty(value, "status") && typeof value.status === "number" ? value.status : undefined
  const call: Call = { circuit, url, method, status }
  const told = settled((): Told => {
    switch (outcome._tag) {
      case "Success":
        return breaker.success(call, duration)
      case "Failure":
        return breaker.failure(call, Exit.isFailure(exit) ? Cause.squash(exit.cause) : value, duration)
      case "Ignored":
        return breaker.ignored?.(call, duration)
    }
  })
  return Effect.catchCause(told, report)
}

const report = (cause: Cause.Cause<unknown>): Effect.Effect<void> => unhandled(messages.adapterFailed, cause)

// -----------------------------------------------------------------------------
// a breaker that runs a function
// -----------------------------------------------------------------------------

/** Waits until the breaker runs the function, which is leave to make the call, or rejects. */
const executing = (
  circuit: string,
  options: Pick<Parameters<typeof execute>[1], "execute" | "isRejection">
): Effect.Effect<End, ForeignOpenError> =>
  Effect.callback<End, ForeignOpenError>((resume) => {
    let hasRun = false
    let finish!: { readonly resolve: (value: unknown) => void; readonly reject: (error: unknown) => void }
    const ending = new Promise<unknown>((resolve, reject) => {
      finish = { resolve, reject }
    })
    // The breaker may not look at it, and then nobody handles its rejection.
    ending.catch(() => {})
    const call = (): Promise<unknown> => {
      if (!hasRun) {
        hasRun = true
        resume(Effect.succeed((exit, outcome) => {
          if (outcome._tag !== "Failure") finish.resolve(Exit.isSuccess(exit) ? exit.value : undefined)
          else finish.reject(Exit.isFailure(exit) ? Cause.squash(exit.cause) : exit.value)
          // The next call of this fiber is to meet what this one changed. Whoever does not want to wait may be interrupted.
          return Effect.interruptible(Effect.promise(() => answered))
        }))
      }
      return ending
    }
    const refuse = (): void => {
      if (!hasRun) resume(Effect.fail(new ForeignOpenError({ circuit })))
    }
    const failed = (error: unknown): void => {
      if (hasRun) return
      const cause = Cause.die(error)
      const isRejection = Effect.catchCause(
        Effect.sync(() => options.isRejection(error)),
        (other) => Effect.as(report(other), false)
      )
      resume(Effect.flatMap(isRejection, (isRejection) =>
        isRejection
          ? Effect.fail(new ForeignOpenError({ circuit }))
          : Effect.as(report(cause), () => Effect.void)))
    }
    const start = async (): Promise<unknown> => options.execute(call)
    const answered = start().then(refuse, failed)
    return Effect.sync(() => {
      hasRun = true
      finish.resolve(undefined)
    })
  })
