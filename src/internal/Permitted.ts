/**
 * Calls that need a permit: probes, ramps, timeouts, bulkheads, slow-call policies, `classify`, overrides.
 *
 * From admission to settlement the fiber is uninterruptible, except while the call itself or its classification runs, so a
 * permit and a place in the bulkhead are given back however the call ends.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { BreakerTimeoutError } from "../BreakerError.ts"
import type { Permit } from "../core/Machine.ts"
import { fromExit, ignored, isOutcome, type Outcome } from "../Outcome.ts"
import type { Classify } from "../Policy.ts"
import type { Circuit } from "./Circuit.ts"

/** A `classify` whose types its caller has checked. */
export type AnyClassify = Classify<any, any, any>

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

export const runPermitted = <A, E, R>(
  circuit: Circuit,
  self: Effect.Effect<A, E, R>,
  classify: AnyClassify | undefined,
  metricsOnly: boolean,
  fiber: Fiber.Fiber<unknown, unknown>
): Effect.Effect<A, any, R> =>
  Effect.uninterruptibleMask((restore) => admitted(circuit, self, classify, metricsOnly, fiber, restore, true))

const admitted = <A, E, R>(
  circuit: Circuit,
  self: Effect.Effect<A, E, R>,
  classify: AnyClassify | undefined,
  metricsOnly: boolean,
  fiber: Fiber.Fiber<unknown, unknown>,
  restore: Restore,
  asks: boolean
): Effect.Effect<A, any, R> => {
  const { maxConcurrent, slowerThan, ticker } = circuit.plan
  const now = slowerThan === undefined && circuit.isClosed() ? ticker.now : ticker.exact()
  const refusal = metricsOnly ? undefined : circuit.refuses(now)
  if (refusal !== undefined) return circuit.reject(refusal, now)
  const full = maxConcurrent !== undefined && circuit.inFlight >= maxConcurrent
  if (full && !metricsOnly && !circuit.isOverridden(now)) return circuit.rejectFull(ticker.exact())
  const permit = circuit.admit(now, metricsOnly)
  if (permit === "Ask") {
    if (!asks) return circuit.reject("HalfOpen", now)
    return Effect.flatMap(
      restore(circuit.ask()),
      () => admitted(circuit, self, classify, metricsOnly, fiber, restore, false)
    )
  }
  if (typeof permit === "string") return circuit.reject(permit, now)
  circuit.plan.trace?.("Trace", "Call admitted", { circuit: circuit.name, probe: permit.probe })
  if (!permit.recorded) return restore(self)
  circuit.inFlight++
  return settled(circuit, permit, limited(circuit, permit, self, fiber, restore), classify, restore)
}

const settled = <A, E, R>(
  circuit: Circuit,
  permit: Permit,
  running: Effect.Effect<A, E, R>,
  perCall: AnyClassify | undefined,
  restore: Restore
): Effect.Effect<A, E, any> => {
  const classify = perCall ?? circuit.plan.classify
  if (classify === undefined) {
    const end = (exit: Exit.Exit<A, E>): Effect.Effect<void> | undefined => {
      circuit.inFlight--
      settle(circuit, permit, exit, fromExit(exit))
      return circuit.recorded()
    }
    if (!Exit.isExit(running)) return Effect.onExitPrimitive(running, end)
    const recorded = end(running as Exit.Exit<A, E>)
    return recorded === undefined ? running : Effect.flatMap(recorded, (): Effect.Effect<A, E, R> => running)
  }
  return Effect.flatMap(Effect.exit(running), (exit) => {
    circuit.inFlight--
    if (permit.spent) return exit
    if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) {
      settle(circuit, permit, exit, ignored)
      return exit
    }
    const classification = Effect.suspend(() => {
      const outcome = classify(exit)
      return Effect.isEffect(outcome) ? Effect.map(outcome, checked) : Effect.succeed(checked(outcome))
    })
    const provided = perCall === undefined ? Effect.provide(classification, circuit.plan.context) : classification
    return Effect.flatMap(Effect.exit(restore(provided)), (classified) => {
      settle(circuit, permit, exit, Exit.isSuccess(classified) ? classified.value : ignored)
      if (Exit.isFailure(classified) && !Cause.hasInterruptsOnly(classified.cause)) {
        circuit.plan.report("classify failed, the call counts as ignored", classified.cause)
      }
      // A fiber that was interrupted while it classified ends so, once it may; any other fault the call's own result outlives.
      const recorded = circuit.recorded()
      return recorded === undefined ? exit : Effect.andThen(recorded, exit)
    })
  })
}

/** Types cannot keep a `classify` from giving something else. */
const checked = (outcome: unknown): Outcome => {
  if (!isOutcome(outcome)) throw new TypeError("classify gave no outcome")
  return outcome
}

/** Milliseconds that a failure asks to stay away; 0 for none, and for what is no duration. */
export const hintOf = (outcome: Extract<Outcome, { readonly _tag: "Failure" }>): number =>
  outcome.retryAfter === undefined
    ? 0
    : Option.match(Duration.fromInput(outcome.retryAfter), {
      onNone: () => 0,
      onSome: (hint) => Math.max(0, Duration.toMillis(hint))
    })

const settle = (circuit: Circuit, permit: Permit, exit: Exit.Exit<unknown, unknown>, outcome: Outcome): void => {
  if (permit.spent) return
  const { slowerThan, ticker } = circuit.plan
  const plain = outcome._tag === "Success" && slowerThan === undefined && !permit.probe && !circuit.isSuspect()
  const now = !plain ? ticker.exact() : ticker.fresh ? ticker.now : ticker.refresh()
  const slow = slowerThan !== undefined && now - permit.startedAt >= slowerThan
  if (outcome._tag === "Failure") {
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : exit.value
    circuit.failed(permit, now, { slow, timeout: false, hint: hintOf(outcome), error })
  } else circuit.settle(permit, now, { outcome: outcome._tag, slow, timeout: false, hint: 0 })
  circuit.wake()
}

/** Runs a call within its timeout, or a probe within its own and its lease, whichever is shorter. */
const limited = <A, E, R>(
  circuit: Circuit,
  permit: Permit,
  self: Effect.Effect<A, E, R>,
  fiber: Fiber.Fiber<unknown, unknown>,
  restore: Restore
): Effect.Effect<A, any, R> => {
  const { probeTimeout, timeout } = circuit.plan
  const lease = permit.until - permit.startedAt
  const limit = permit.probe ? Math.min(probeTimeout ?? lease, lease) : timeout
  if (limit === undefined) return restore(self)
  return bounded(circuit, permit, self, limit, limit === (permit.probe ? probeTimeout : timeout), fiber, restore)
}

/**
 * Runs a call in a fiber of its own, as `Effect.timeout` does, but with one fiber in place of two and a place in a queue in
 * place of a timer, and neither for what ends without waiting. When its time is up it settles as failed at once and is
 * interrupted; its caller hears of it when its finalizers have run, and whatever it ends with by then is discarded.
 */
const bounded = <A, E, R>(
  circuit: Circuit,
  permit: Permit,
  self: Effect.Effect<A, E, R>,
  millis: number,
  isTimeout: boolean,
  parent: Fiber.Fiber<unknown, unknown>,
  restore: Restore
): Effect.Effect<A, any, R> => {
  const child = Effect.runForkWith(parent.context)(self as Effect.Effect<A, E>)
  const ended = child.pollUnsafe()
  if (ended !== undefined) return ended
  const { slowerThan, ticker } = circuit.plan
  const deadlines = circuit.plan.deadlines(millis)
  let late: Exit.Exit<never, unknown> | undefined
  let waiting = true
  const deadline = deadlines.add(() => {
    waiting = false
    const now = ticker.exact()
    const slow = slowerThan !== undefined && millis >= slowerThan
    const error = new BreakerTimeoutError({ circuit: circuit.name, timeout: Duration.millis(millis) })
    circuit.failed(permit, now, { slow, timeout: isTimeout, hint: 0, error })
    late = isTimeout ? Exit.fail(error) : circuit.rejection("Open", now)
    child.interruptUnsafe(parent.id)
  })
  const stopWaiting = (): void => {
    if (waiting) deadlines.remove(deadline)
    waiting = false
  }
  const end = Effect.callback<A, any>((resume) => {
    child.addObserver((exit) => {
      stopWaiting()
      resume(late ?? exit)
    })
  })
  // The fiber may have been interrupted before it began to wait, so that the child is ended here and not by the callback.
  return Effect.onExitPrimitive(restore(end), () => {
    stopWaiting()
    return child.pollUnsafe() === undefined ? Effect.andThen(Fiber.interrupt(child), faultsOf(child)) : undefined
  })
}

/** What an interrupted call failed with besides, in its finalizers: its caller hears of it, as it would without a timeout. */
const faultsOf = <A, E>(child: Fiber.Fiber<A, E>): Effect.Effect<void, E> =>
  Effect.suspend(() => {
    const exit = child.pollUnsafe()
    const faults = exit?._tag === "Failure"
      ? exit.cause.reasons.filter((reason) => !Cause.isInterruptReason(reason))
      : []
    return faults.length === 0 ? Effect.void : Effect.failCause(Cause.fromReasons(faults))
  })
