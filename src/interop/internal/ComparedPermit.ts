/** Leave by the decider to make a call, and the shadow's beside it. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Guard, Permit } from "../../Guard.ts"
import type { AnyClassify } from "../../internal/Call.ts"
import { type Explained, judgedBy, settleAs } from "../../internal/Judge.ts"
import * as Outcome from "../../Outcome.ts"
import { classifiedBy, type ComparedCall, timedOutBy } from "./ComparedCall.ts"

type AnyExit = Exit.Exit<unknown, unknown>
type Judged = Outcome.Outcome | undefined

export const comparedPermit = (
  decider: Guard<any, any>,
  call: ComparedCall
): Effect.Effect<Permit, any, any> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.matchCauseEffect(restore(decider.permit), {
      onFailure: (cause) => Effect.andThen(call.rejected(cause), Effect.failCause(cause)),
      onSuccess: (permit) =>
        Effect.gen(function*() {
          yield* call.runs
          const taken = new ComparedPermit(permit, decider, call)
          yield* Scope.addFinalizer(yield* Effect.scope, taken.release)
          return taken
        })
    })
  )

/** The decider's permit, whose settlement the shadow is told. */
class ComparedPermit implements Permit, Explained {
  readonly #permit: Permit
  readonly #decider: Guard<any, any>
  readonly #call: ComparedCall
  #isTold = false

  constructor(permit: Permit, decider: Guard<any, any>, call: ComparedCall) {
    this.#permit = permit
    this.#decider = decider
    this.#call = call
  }

  get circuit(): string {
    return this.#permit.circuit
  }

  get probe(): boolean {
    return this.#permit.probe
  }

  get remaining(): Duration.Duration | undefined {
    return this.#permit.remaining
  }

  get timeout(): Duration.Duration | undefined {
    return this.#permit.timeout
  }

  readonly settle = (outcome: Outcome.Outcome): Effect.Effect<boolean> => this.#end(Exit.void, outcome, outcome)

  readonly settleExit = (exit: AnyExit): Effect.Effect<boolean> =>
    Effect.flatMap(judgedBy(this.#decider, exit), (judged) => this.#end(exit, judged, undefined))

  readonly settleBy = (classify: AnyClassify | undefined, exit: AnyExit): Effect.Effect<boolean> =>
    classify === undefined
      ? this.settleExit(exit)
      : Effect.flatMap(
        Effect.catchCause(classifiedBy(classify, exit), () => Effect.succeed(Outcome.ignored)),
        (outcome) => this.#end(exit, outcome, outcome)
      )

  readonly release: Effect.Effect<void> = Effect.suspend(() => this.#tell(Exit.void, Outcome.ignored, Outcome.ignored))

  #end(exit: AnyExit, judged: Judged, given: Judged): Effect.Effect<boolean> {
    return Effect.flatMap(
      settleAs(this.#permit, exit, judged),
      (isRecorded) => Effect.as(this.#tell(exit, judged, given), isRecorded)
    )
  }

  #tell(exit: AnyExit, judged: Judged, given: Judged): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#isTold) return Effect.void
      this.#isTold = true
      const late = timedOutBy(this.#permit.circuit, exit)
      return this.#call.ended({
        exit,
        given: Effect.succeed(given),
        isCut: late !== undefined,
        judged: late ?? (judged && { outcome: judged, reason: undefined })
      })
    })
  }
}
