/**
 * The hot path: what a call through a closed circuit pays, and what a rejected one does.
 *
 * The budget is ratios to other breakers in one run of `npm run bench`. What keeps it: no storage, generator or scope; a
 * timer and a look at the clock once a tick, and else for failures and what they could decide; two Effect primitives and one
 * closure a call; a look-up of `Enforcement` only where the context is not the last call's. A rejection is a look at the clock and an exit that is made once an opening.
 *
 * `circuit.gate` answers for all that can make a call ask: the state, an override, a policy that wants more than counting.
 * What goes straight through took no permit and has none to give back: it captures the epoch, and what ends in another one
 * counts for the lifetime statistics alone.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Fiber } from "effect/Fiber"
import type { BreakerOpenError } from "../BreakerError.ts"
import { Enforcement, type EnforcementMode } from "../Enforcement.ts"
import { fromCause } from "../Outcome.ts"
import type { Circuit } from "./Circuit.ts"
import { type AnyClassify, hintOf, runPermitted } from "./Permitted.ts"

// Effect's contexts are immutable: while calls come with the same one, its mode holds. The last one seen is kept alive.
let context: Context.Context<never> | undefined
let enforcement: EnforcementMode = "enforce"

/** Whether a fiber's calls pass every breaker. */
export const isBypassed = (fiber: Fiber<unknown, unknown>): boolean => modeOf(fiber) === "bypass"

const modeOf = (fiber: Fiber<unknown, unknown>): EnforcementMode => {
  if (fiber.context !== context) {
    context = fiber.context
    enforcement = Context.get(context, Enforcement)
  }
  return enforcement
}

/** Runs an effect through a circuit, in the fiber that asks. */
export const run = <A, E, R>(
  circuit: Circuit,
  self: Effect.Effect<A, E, R>,
  classify: AnyClassify | undefined,
  fiber: Fiber<unknown, unknown>
): Effect.Effect<A, any, R> => {
  if (modeOf(fiber) !== "enforce" || circuit.gate !== 0 || classify !== undefined) {
    return ask(circuit, self, classify, fiber)
  }
  const epoch = circuit.epoch
  // Only keeps the circuit of a key from being evicted: a fiber interrupted before the next line's primitive runs leaves it
  // one too high, and eviction does not trust it for longer than the idle time.
  circuit.inFlight++
  return Effect.onExitPrimitive(self, (exit) => {
    circuit.inFlight--
    if (exit._tag === "Success") {
      const { ticker } = circuit.plan
      succeeded(circuit, epoch, ticker.fresh ? ticker.now : ticker.refresh())
    } else failed(circuit, epoch, exit.cause)
    // Its round has passed while the call ran.
    if (circuit.gate !== 0) circuit.wake()
    return undefined
  })
}

const succeeded = (circuit: Circuit, epoch: number, now: number): void => {
  circuit.countSuccess(now)
  if (epoch !== circuit.epoch) circuit.late()
  else if (circuit.windows === undefined) circuit.endStreak()
  // What could trip is decided on the exact time.
  else circuit.record(circuit.isSuspect() ? circuit.plan.ticker.exact() : now, false, false, 0, false)
}

const failed = (circuit: Circuit, epoch: number, cause: Cause.Cause<unknown>): void => {
  const outcome = fromCause(cause)
  if (outcome._tag === "Ignored") {
    circuit.ignored++
    return
  }
  const now = circuit.plan.ticker.exact()
  if (outcome._tag === "Success") succeeded(circuit, epoch, now)
  else circuit.failedStraight(epoch, now, hintOf(outcome), Cause.squash(cause))
}

const ask = <A, E, R>(
  circuit: Circuit,
  self: Effect.Effect<A, E, R>,
  classify: AnyClassify | undefined,
  fiber: Fiber<unknown, unknown>
): Effect.Effect<A, any, R> => {
  if (enforcement === "bypass") return self
  if (enforcement === "metricsOnly") {
    circuit.arrive()
    return runPermitted(circuit, self, classify, true, fiber)
  }
  const refusal = refusalOf(circuit)
  if (refusal !== undefined) return refusal
  const arrival = circuit.arrive()
  if (arrival !== undefined) return Effect.flatMap(arrival, () => decide(circuit, self, classify, fiber))
  return decide(circuit, self, classify, fiber)
}

const refusalOf = (circuit: Circuit): Exit.Exit<never, BreakerOpenError> | undefined => {
  if (circuit.isClosed()) return undefined
  const now = circuit.plan.ticker.exact()
  const refusal = circuit.refuses(now)
  return refusal === undefined ? undefined : circuit.reject(refusal, now)
}

/** Once all that can be known is known. */
const decide = <A, E, R>(
  circuit: Circuit,
  self: Effect.Effect<A, E, R>,
  classify: AnyClassify | undefined,
  fiber: Fiber<unknown, unknown>
): Effect.Effect<A, any, R> => refusalOf(circuit) ?? runPermitted(circuit, self, classify, false, fiber)
