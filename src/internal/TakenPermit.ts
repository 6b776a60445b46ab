/** Permits in hand, for work that is not one effect. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Fiber } from "effect/Fiber"
import { identity } from "effect/Function"
import * as Scope from "effect/Scope"
import type { Permit as Core } from "../core/Permit.ts"
import type { Permit } from "../Guard.ts"
import { failure, ignored, type Outcome } from "../Outcome.ts"
import { admitted, type AnyClassify, ended, enforcementOf, judged, settle } from "./Call.ts"
import type { Circuit } from "./Circuit.ts"
import { isTimeoutOf } from "./OwnTimeout.ts"
import { tellTimeout } from "./Tracing.ts"
import { waiting } from "./Waiting.ts"

/** A permit of a circuit, from when it is taken until it is settled or its scope closes. */
export class TakenPermit implements Permit {
  readonly circuit: string
  readonly #circuit: Circuit
  readonly #permit: Core
  /** Whether its holder may wait for the report of its outcome. */
  readonly #mayWait: boolean
  /** How long the place of a probe is its own, and how long the work may take, by the policy that it was taken under. */
  readonly #leaseMillis: number
  readonly timeout: Duration.Duration | undefined

  constructor(circuit: Circuit, permit: Core, mayWait: boolean) {
    this.#mayWait = mayWait
    this.circuit = circuit.name
    this.#circuit = circuit
    this.#permit = permit
    const { leaseMillis, probeTimeoutMillis, timeoutMillis } = circuit.shared
    const limitMillis = permit.probe ? probeTimeoutMillis : timeoutMillis
    this.#leaseMillis = leaseMillis
    this.timeout = limitMillis === undefined ? undefined : Duration.millis(limitMillis)
    if (permit.recorded) circuit.began(permit)
  }

  get probe(): boolean {
    return this.#permit.probe
  }

  get remaining(): Duration.Duration | undefined {
    return this.probe ? Duration.millis(Math.max(0, this.#restMillis)) : undefined
  }

  /** How long a probe's place is still its own. */
  get #restMillis(): number {
    return this.#permit.startedAt + this.#leaseMillis - this.#circuit.shared.ticker.exact()
  }

  /** Whether it is a probe whose place another may have by now. */
  get hasLapsed(): boolean {
    return this.probe && this.#restMillis <= 0
  }

  readonly settle = (outcome: Outcome): Effect.Effect<boolean> =>
    Effect.suspend(() => this.#end(Exit.void, outcome, false))

  readonly settleExit = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<boolean> => this.settleBy(undefined, exit)

  /** Settles by the exit of the work: a timeout of this circuit's, interruption, or what `classify` says. */
  settleBy(classify: AnyClassify | undefined, exit: Exit.Exit<unknown, unknown>): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      if (hasTimedOut(this.circuit, exit)) return this.#end(exit, failure(), true)
      const outcome = judged(this.#circuit, classify, exit, identity)
      return Effect.isEffect(outcome)
        ? Effect.flatMap(outcome as Effect.Effect<Outcome>, (outcome) => this.#end(exit, outcome, false))
        : this.#end(exit, outcome, false)
    })
  }

  /** Gives it back where nobody has settled it. */
  readonly release: Effect.Effect<void> = Effect.suspend(() => Effect.asVoid(this.#end(Exit.void, ignored, false)))

  /** Succeeds with whether this settlement counts: the first, and of the epoch in which the permit was given. */
  #end(exit: Exit.Exit<unknown, unknown>, outcome: Outcome, timeout: boolean): Effect.Effect<boolean> {
    const circuit = this.#circuit
    const permit = this.#permit
    if (!permit.recorded || permit.spent) return Effect.succeed(false)
    const counts = permit.epoch === circuit.epoch
    ended(circuit, permit)
    if (timeout) tellTimeout(circuit)
    settle(circuit, permit, exit, outcome, timeout)
    const reported = this.#mayWait ? circuit.fleet?.afterCall() : undefined
    return Effect.as(reported ?? Effect.void, counts)
  }
}

const hasTimedOut = (circuit: string, exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.some((reason) => Cause.isFailReason(reason) && isTimeoutOf(reason.error, circuit))

/** Takes a permit that its scope gives back. */
export const takeIn = (
  scope: Scope.Scope,
  circuit: Circuit,
  metricsOnly: boolean,
  waits = false
): Effect.Effect<TakenPermit, any> =>
  Effect.withFiber((fiber) =>
    // Who waits for a permit is not rejected, so a refusal is on no span.
    admitted(circuit, waits ? undefined : fiber, metricsOnly, (permit, _restore, mayWait) => {
      const taken = new TakenPermit(circuit, permit, mayWait)
      return Effect.as(Scope.addFinalizer(scope, taken.release), taken)
    })
  )

/** Chooses the circuit of a call when it is made; `undefined` is none. */
export type Find = (fiber: Fiber<unknown, unknown>) => Circuit | undefined

/** Takes a permit from the circuit that `find` chooses, or waits for one. Past the circuit where that is none. */
export const permitFrom = (
  name: () => string,
  find: Find,
  waits: boolean
): Effect.Effect<Permit, any, Scope.Scope> =>
  Effect.withFiber((fiber) => {
    const enforcement = enforcementOf(fiber)
    const circuit = enforcement === "bypass" ? undefined : find(fiber)
    if (circuit === undefined) return Effect.succeed(bypassed(name()))
    return Effect.flatMap(Effect.scope, (scope) => {
      const isWaiting = waits && enforcement === "enforce"
      const take = takeIn(scope, circuit, enforcement === "metricsOnly", isWaiting)
      return isWaiting ? waiting(circuit, take) : take
    })
  })

/** A permit past the circuit: nothing is recorded. */
export const bypassed = (circuit: string): Permit => ({
  circuit,
  probe: false,
  remaining: undefined,
  timeout: undefined,
  settle: () => Effect.succeed(false),
  settleExit: () => Effect.succeed(false)
})
