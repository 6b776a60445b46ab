/** An effect that the decider runs or rejects by itself, and the shadow beside it. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Guard } from "../../Guard.ts"
import type { AnyClassify } from "../../internal/Call.ts"
import { judgedBy, tells } from "../../internal/Judge.ts"
import * as Outcome from "../../Outcome.ts"
import { classifiedBy, type ComparedCall, timedOutBy } from "./ComparedCall.ts"

type AnyExit = Exit.Exit<unknown, unknown>

export const comparedRun = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  perCall: AnyClassify | undefined,
  decider: Guard<any, any>,
  call: ComparedCall
): Effect.Effect<A, any, any> =>
  Effect.suspend(() => {
    /** The exit of the call itself, which may have been interrupted by the decider. */
    let own: AnyExit | undefined
    let judged: Outcome.Outcome | undefined
    let hasRun = false
    const running = Effect.suspend(() => {
      hasRun = true
      const noted = Effect.onExitPrimitive(self, (exit) => {
        own = exit
        return undefined
      })
      return Effect.andThen(call.runs, noted)
    })
    // The decider's own classification is run here in its place, so that it is known what it said.
    const judge = (exit: AnyExit) => perCall === undefined ? judgedBy(decider, exit) : classifiedBy(perCall, exit)
    const classify = (exit: AnyExit) =>
      Effect.map(judge(exit), (outcome = Outcome.fromExit(exit)) => {
        judged = Outcome.read(outcome)
        return outcome
      })
    const given = (exit: AnyExit): Effect.Effect<Outcome.Outcome | undefined> => {
      if (perCall === undefined) return Effect.succeed(undefined)
      if (judged !== undefined) return Effect.succeed(judged)
      if (isInterrupted(exit)) return Effect.succeed(Outcome.ignored)
      return Effect.catchCause(classifiedBy(perCall, exit), () => Effect.succeed(Outcome.ignored))
    }
    const options = perCall === undefined && !tells(decider) ? {} : { classify }
    return Effect.onExit(decider.wrapWith(running, options), (exit) => {
      if (!hasRun) return Exit.isFailure(exit) ? call.rejected(exit.cause) : Effect.void
      const inner = own ?? exit
      const isCut = isInterrupted(inner) && !isInterrupted(exit)
      return call.ended({ exit: inner, given: given(inner), isCut, judged: judgement(decider, exit, judged) })
    })
  })

/** The decider's judgement; `undefined` where it does not tell. */
const judgement = ({ circuit }: Guard<any, any>, exit: AnyExit, judged: Outcome.Outcome | undefined) => {
  const outcome = judged ?? (isInterrupted(exit) ? Outcome.ignored : undefined)
  return outcome === undefined ? timedOutBy(circuit, exit) : { outcome, reason: undefined }
}

const isInterrupted = (exit: AnyExit): boolean => Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
