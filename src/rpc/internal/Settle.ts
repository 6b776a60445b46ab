/** How a procedure ended, and what its permit is told of it. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { hasProperty } from "effect/Predicate"
import * as Scope from "effect/Scope"
import type { Permit } from "../../Guard.ts"
import type { Explained } from "../../internal/Judge.ts"
import * as Outcome from "../../Outcome.ts"

type AnyExit = Exit.Exit<unknown, unknown>

const ofReason = (reason: Cause.Reason<unknown>): Outcome.Outcome =>
  Cause.isFailReason(reason) && !hasProperty(reason.error, Outcome.outcome)
    ? Outcome.success
    : Outcome.fromCause(Cause.fromReasons([reason]))

/** A declared error is an answer, unless it carries its own outcome. */
export const classifyAnswer = (exit: AnyExit): Outcome.Outcome => {
  if (Exit.isSuccess(exit)) return Outcome.success
  const outcomes = exit.cause.reasons.filter((reason) => !Cause.isInterruptReason(reason)).map(ofReason)
  return outcomes.find(({ _tag }) => _tag === "Failure") ?? outcomes[0] ?? Outcome.ignored
}

/**
 * Settles a permit by a classification in place of the policy's. A permit of this library is given the exit as well, because a later
 * rejection says why the circuit opened.
 */
export const settleBy = (
  permit: Permit & Partial<Explained>,
  classify: (exit: AnyExit) => Outcome.Outcome,
  exit: AnyExit
): Effect.Effect<boolean> => permit.settleBy?.(classify, exit) ?? permit.settle(classify(exit))

/** Runs `use` with a permit whose scope closes when `use` ends. The scope is not in the context of `use`. */
export const withPermit = <A, E, R, E2, R2>(
  take: Effect.Effect<Permit, E2, R2>,
  use: (permit: Permit) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | E2, R | Exclude<R2, Scope.Scope>> =>
  Effect.suspend(() => {
    const scope = Scope.makeUnsafe()
    return Scope.provide(take, scope).pipe(
      Effect.flatMap(use),
      Effect.onExit((exit) => Scope.close(scope, exit))
    )
  })
