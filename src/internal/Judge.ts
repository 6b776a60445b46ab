/** The parts of a guard that a comparison of two uses. A guard of the user's own need not have them. */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Permit } from "../Guard.ts"
import type { Outcome } from "../Outcome.ts"
import type { TakenPermit } from "./TakenPermit.ts"

type Judged = Outcome | undefined

export const judge: unique symbol = Symbol("effect-breaker/judge")

/** A guard that says how it judges a call that brings no `classify`, in the context of its calls. */
export interface Judges {
  readonly [judge]: (exit: Exit.Exit<unknown, unknown>) => Judged | Effect.Effect<Judged, never, any>
}

/** Whether a guard says how it judges. */
export const tells = (guard: object): boolean => judge in guard

/**
 * The outcome of an exit by a guard; `undefined` where it does not say. It is run where the guard's calls are, so they have what
 * it needs.
 */
export const judgedBy = (guard: object, exit: Exit.Exit<unknown, unknown>): Effect.Effect<Judged> => {
  const outcome = (guard as Partial<Judges>)[judge]?.(exit)
  return Effect.isEffect(outcome) ? outcome as Effect.Effect<Judged> : Effect.succeed(outcome)
}

/** A permit that is told the exit beside the outcome, for the error that its rejections and events show. */
export type Explained = Pick<TakenPermit, "settleBy">

/** Settles a permit by the outcome of an exit, or by its own judgement where there is none. */
export const settleAs = (
  permit: Permit & Partial<Explained>,
  exit: Exit.Exit<unknown, unknown>,
  outcome: Judged
): Effect.Effect<boolean> =>
  outcome === undefined
    ? permit.settleExit(exit)
    : permit.settleBy?.(() => outcome, exit) ?? permit.settle(outcome)
