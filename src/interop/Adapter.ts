/**
 * Adapters for a breaker that the application already has. It goes wherever a breaker goes, so that either can be behind one client.
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
  /** Whether a call may be made now, without a request for one. Default: not known. */
  readonly mayI?: (() => boolean) | undefined
}

/**
 * An adapted breaker. `mayI` is the one that it was given.
 *
 * @category models
 * @since 0.1.0
 */
export interface Adapted extends Guard<ForeignOpenError, never> {
  readonly mayI: (() => boolean) | undefined
}

/**
 * Adapts a breaker in two steps. The outcome of a call is that of `classify`, or of `Outcome.fromExit`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const twoStep = (circuit: string, breaker: TwoStep): Adapted => {
  const enter = Effect.gen(function*() {
    const call: Call = { circuit, ...(yield* CallDetails) }
    const mayRun = yield* Effect.catchCause(
      settled(() => breaker.before(call)),
      (cause) => Effect.as(report(cause), true)
    )
    if (!mayRun) return yield* new ForeignOpenError({ circuit })
    const startedAt = yield* monotonicNow
    return (exit: Exit.Exit<unknown, unknown>, outcome: Outcome.Outcome) =>
      Effect.flatMap(monotonicNow, (now) => tell(breaker, call, exit, outcome, Duration.millis(now - startedAt)))
  })
  return {
    circuit,
    mayI: breaker.mayI,
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
        const permit: Permit = {
          circuit,
          probe: false,
          remaining: undefined,
          timeout: undefined,
          settle: (outcome) => settle(Exit.void, outcome),
          settleExit: (exit) => settle(exit, Outcome.fromExit(exit))
        }
        return Effect.as(
          Effect.flatMap(Effect.scope, (scope) => Scope.addFinalizer(scope, permit.settle(Outcome.ignored))),
          permit
        )
      })
    )
  }
}

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
