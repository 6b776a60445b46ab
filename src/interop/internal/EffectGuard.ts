/** A breaker of Effect's as a guard of one circuit. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import type * as Scope from "effect/Scope"
import type { Guard, Permit } from "../../Guard.ts"
import { judge, type Judges } from "../../internal/Judge.ts"
import * as Outcome from "../../Outcome.ts"
import type { Classify } from "../../Policy.ts"

/** An outcome of ours as Effect's, whose hint is a `Duration` and only on failures. */
const theirs = (outcome: Outcome.Outcome): CircuitBreaker.Outcome => {
  switch (outcome._tag) {
    case "Success":
      return CircuitBreaker.success
    case "Ignored":
      return CircuitBreaker.ignored
    case "Failure":
      return CircuitBreaker.failure({ retryAfter: outcome.retryAfter })
  }
}

export const guardOf = (
  breaker: CircuitBreaker.CircuitBreaker,
  key: string
): Guard<CircuitBreaker.CircuitBreakerError, never> & Judges => ({
  circuit: key,
  [judge]: Outcome.fromExit,
  wrapWith: dual(
    2,
    <A, E, R, R2>(
      self: Effect.Effect<A, E, R>,
      { classify = Outcome.fromExit }: { readonly classify?: Classify<A, E, R2> | undefined }
    ) =>
      breaker.execute(self, {
        key,
        classify: (
          exit: Exit.Exit<A, E>
        ): CircuitBreaker.Outcome | Effect.Effect<CircuitBreaker.Outcome, never, R2> => {
          const outcome = classify(exit)
          return Effect.isEffect(outcome) ? Effect.map(outcome, theirs) : theirs(outcome)
        }
      })
  ),
  permit: permitOf(breaker, key)
})

/** A call that runs until the permit is settled, in a fiber of its scope. When that closes before, the call is interrupted: ignored. */
const permitOf = (
  breaker: CircuitBreaker.CircuitBreaker,
  key: string
): Effect.Effect<Permit, CircuitBreaker.CircuitBreakerError, Scope.Scope> =>
  Effect.gen(function*() {
    const admitted = yield* Deferred.make<void, CircuitBreaker.CircuitBreakerError>()
    const outcome = yield* Deferred.make<CircuitBreaker.Outcome>()
    const call = Effect.andThen(Deferred.succeed(admitted, undefined), Deferred.await(outcome)).pipe(
      breaker.execute({ key, classify: (exit) => Exit.isSuccess(exit) ? exit.value : CircuitBreaker.ignored })
    )
    const running = yield* Effect.forkScoped(
      Effect.onExit(call, (exit) => Exit.isFailure(exit) ? Deferred.failCause(admitted, exit.cause) : Effect.void),
      { startImmediately: true }
    )
    yield* Deferred.await(admitted)
    // It is recorded by the time that the fiber has ended.
    const settle = (settled: Outcome.Outcome) =>
      Effect.tap(Effect.suspend(() => Deferred.succeed(outcome, theirs(settled))), () => Fiber.await(running))
    return {
      circuit: key,
      probe: false,
      remaining: undefined,
      timeout: undefined,
      settle,
      settleExit: (exit) => settle(Outcome.fromExit(exit))
    }
  })
