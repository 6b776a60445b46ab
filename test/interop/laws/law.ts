/** A documented behaviour of Effect's breaker, as a test that runs on whatever gives a subject. */
import { assert, it } from "@effect/vitest"
import { Cause, Effect, Exit, Option, type Scope } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { TestClock } from "effect/testing"
import { eventually, retryWhenLate, scaledMillis } from "../../support/machine.ts"
import { untilQuiet } from "../../utils.ts"

/** How time passes for a subject. Laws count it in units. */
export interface Time {
  readonly unitMillis: number
  readonly advance: (units: number) => Effect.Effect<void>
  /** Waits until something that needs no time has happened. */
  readonly until: (event: string, isSo: Effect.Effect<boolean>) => Effect.Effect<void>
}

export interface Law<in Subject> {
  readonly name: string
  readonly check: (subject: Subject) => Effect.Effect<void, unknown, Scope.Scope>
}

/** Time that the test moves. */
export const testTime: Time = {
  unitMillis: 1000,
  advance: (units) => Effect.andThen(TestClock.adjust(units * 1000), untilQuiet),
  until: (event, isSo) =>
    Effect.map(
      Effect.andThen(untilQuiet, isSo),
      (happened) => assert.isTrue(happened, `it did not happen that ${event}`)
    )
}

/** Real time, for storages with a clock of their own. */
export const realTime: Time = {
  unitMillis: scaledMillis(100),
  advance: (units) => Effect.sleep(units * scaledMillis(100)),
  until: eventually
}

/** Checks each law on a subject of its own. */
export const checkAll = <Subject>(
  laws: ReadonlyArray<Law<Subject>>,
  time: Time,
  subject: Effect.Effect<Subject, unknown, Scope.Scope>
): void => {
  for (const { check, name } of laws) {
    const checked = Effect.scoped(Effect.flatMap(subject, check))
    if (time === testTime) it.effect(name, () => checked)
    else it.live(name, () => retryWhenLate(checked))
  }
}

/** The reason of a call that the breaker did not run. */
export const reasonOf = <A, E, R>(
  call: Effect.Effect<A, E, R>
): Effect.Effect<CircuitBreaker.CircuitBreakerErrorReason, never, R> =>
  Effect.map(Effect.exit(call), (exit) => {
    const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined
    assert.instanceOf(error, CircuitBreaker.CircuitBreakerError, `the call was not rejected: ${String(exit)}`)
    return error.reason
  })
