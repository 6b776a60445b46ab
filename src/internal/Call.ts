/**
 * The life of a call, from admission to settlement. The hot path is the first function.
 *
 * A call through a closed circuit goes straight through: it captures the circuit's epoch, runs, and is counted. It takes no
 * permit and has none to give back. `circuit.gate` is not 0 where anything else is to be done; then a call takes a permit:
 * probes, ramps, timeouts, bulkheads, slow-call policies, `classify`, overrides.
 *
 * The budget is ratios to other breakers in one run of `npm run bench`. A call straight through pays two Effect primitives, one
 * closure and a look-up of `Enforcement`. It meets no storage, generator or scope, and no clock but once a tick and for
 * failures and outcomes that could trip. A rejection is a look at the clock and an exit that is made once an epoch.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Fiber } from "effect/Fiber"
import { type BreakerOpenError, BreakerTimeoutError, type BulkheadFullError } from "../BreakerError.ts"
import { successCouldTrip } from "../core/Evidence.ts"
import type { Permit } from "../core/Permit.ts"
import { refusalOf } from "../core/State.ts"
import { Enforcement, type EnforcementMode } from "../Enforcement.ts"
import { fromCause, fromExit, ignored, type Outcome, read } from "../Outcome.ts"
import type { Classify } from "../Policy.ts"
import type { Circuit } from "./Circuit.ts"
import { GATE_IDLE, GATE_LEASE, GATE_SHEDS } from "./fleet/Fleet.ts"
import { messages } from "./Messages.ts"
import type { Shared } from "./Shared.ts"
import { bounded } from "./Timeout.ts"
import { spanOf, tellProbe, tellRejection, tellTimeout, tellTransition } from "./Tracing.ts"
import { placeFreed } from "./Waiting.ts"
import { withoutStack } from "./WithoutStack.ts"

/** A `classify` that the caller has checked against the call's types. */
export type AnyClassify = Classify<any, any, any>

type Caller = Fiber<unknown, unknown>

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

// -----------------------------------------------------------------------------
// straight through
// -----------------------------------------------------------------------------

/** Runs an effect through a circuit, in the fiber that calls it. */
export const run = <A, E, R>(
  circuit: Circuit,
  self: Effect.Effect<A, E, R>,
  classify: AnyClassify | undefined,
  fiber: Fiber<unknown, unknown>,
  enforcement: EnforcementMode = enforcementOf(fiber)
): Effect.Effect<A, any, R> => {
  if (circuit.gate !== 0 || classify !== undefined || enforcement !== "enforce") {
    if (enforcement === "bypass") return self
    return admitted(circuit, fiber, enforcement === "metricsOnly", (permit, restore, mayWait) => {
      if (!permit.recorded) return restore(self)
      circuit.began(permit)
      return settled(circuit, permit, limited(circuit, permit, self, fiber, restore), classify, restore, mayWait)
    })
  }
  const epoch = circuit.epoch
  // Only keeps the circuit of a key from being evicted. A fiber that is interrupted before the next primitive runs leaves it one
  // too high, so eviction does not trust it for longer than the idle time.
  circuit.inFlight++
  return Effect.onExitPrimitive(self, (exit) => {
    circuit.inFlight--
    if (exit._tag === "Success") {
      const { ticker } = circuit.shared
      circuit.succeeded(epoch, ticker.fresh ? ticker.now : ticker.refresh())
    } else failed(circuit, epoch, exit.cause)
    // The circuit went idle while the call ran.
    if (circuit.gate !== 0) wake(circuit)
    return undefined
  })
}

/** The same, in a span of its own. */
const runInSpan = <A, E, R>(
  circuit: Circuit,
  self: Effect.Effect<A, E, R>,
  classify: AnyClassify | undefined,
  fiber: Fiber<unknown, unknown>,
  enforcement: EnforcementMode = enforcementOf(fiber)
): Effect.Effect<A, any, R> => {
  if (enforcement === "bypass") return self
  const call = Effect.withFiber((fiber) => run(circuit, self, classify, fiber, enforcement))
  return Effect.withSpan(call, ...spanOf(circuit)) as Effect.Effect<A, any, R>
}

/** How the calls of a breaker run: most have no span of their own. */
export const runOf = ({ tracing }: Shared): typeof run => tracing === "spans" ? runInSpan : run

/** The mode of a fiber's calls. It is looked up for each call, because a cache would keep the last request's context alive. */
export const enforcementOf = (fiber: Fiber<unknown, unknown>): EnforcementMode =>
  Context.get(fiber.context, Enforcement)

const failed = (circuit: Circuit, epoch: number, cause: Cause.Cause<unknown>): void => {
  const outcome = fromCause(cause)
  if (outcome._tag === "Ignored") {
    circuit.ignored++
    return
  }
  const now = circuit.shared.ticker.exact()
  if (outcome._tag === "Success") circuit.succeeded(epoch, now)
  else circuit.failed(epoch, now, hintMillisOf(outcome), Cause.squash(cause))
}

/** Puts a circuit back into the fleet's rounds, because a call through it ended. */
const wake = (circuit: Circuit): void => {
  if (circuit.isShut(GATE_IDLE)) circuit.fleet?.schedule()
}

// -----------------------------------------------------------------------------
// with a permit
// -----------------------------------------------------------------------------

/** The use of a permit, in an uninterruptible region. */
type Use<A, E, R> = (permit: Permit, restore: Restore, mayWait: boolean) => Effect.Effect<A, E, R>

/**
 * Refuses at once what is plainly open, waits for the fleet's view, and takes a permit. `caller` is whose span is told of a
 * rejection.
 */
export const admitted = <A, E, R>(
  circuit: Circuit,
  caller: Caller | undefined,
  metricsOnly: boolean,
  use: Use<A, E, R>
): Effect.Effect<A, any, R> => {
  if (!metricsOnly && !circuit.isClosed()) {
    const now = circuit.shared.ticker.exact()
    // Under `strict` and `maxAge` a call waits for a read, so a half-open circuit without a free probe refuses it before that, too.
    const reads = circuit.shared.fleet?.readsBeforeCalls === true
    const refusal = reads || circuit.shared.enforcement === "metricsOnly"
      ? circuit.refusalAt(now)
      : refusalOf(circuit.current, now)
    if (refusal !== undefined) return rejected(circuit, caller, circuit.reject(refusal, now))
  }
  const wait = circuit.beforeCall()
  const waits = circuit.shared.fleet?.waitsForReports === true
  return wait === undefined || metricsOnly
    ? permitted(circuit, caller, metricsOnly, waits, use)
    : Effect.flatMap(wait, (isAnswered) => permitted(circuit, caller, metricsOnly, waits && isAnswered, use))
}

const rejected = <Err extends BreakerOpenError | BulkheadFullError>(
  circuit: Circuit,
  caller: Caller | undefined,
  rejection: Exit.Exit<never, Err>
): Exit.Exit<never, Err> => {
  if (caller?.cache.span !== undefined) tellRejection(circuit, caller, rejection)
  return rejection
}

/**
 * From admission to settlement the fiber is uninterruptible, except while the call itself or its classification runs, so a
 * permit and a place in the bulkhead are given back however the call ends. `mayWait`: the call waits for its outcome's report, because
 * it was admitted under `strict`.
 */
const permitted = <A, E, R>(
  circuit: Circuit,
  caller: Caller | undefined,
  metricsOnly: boolean,
  mayWait: boolean,
  use: Use<A, E, R>
): Effect.Effect<A, any, R> =>
  Effect.uninterruptibleMask((restore) => {
    const { state } = circuit
    const next = (mayAsk: boolean): Effect.Effect<A, any, R> => {
      const { slowerThanMillis, ticker, trace } = circuit.shared
      // A lease that waits may have lapsed since the last tick, so it is decided on the exact time.
      const isUntimed = slowerThanMillis === undefined && circuit.isClosed() && !circuit.isShut(GATE_LEASE) &&
        !circuit.isShut(GATE_SHEDS) && !circuit.isTimed
      const now = isUntimed ? ticker.now : ticker.exact()
      const permit = circuit.admit(now, metricsOnly)
      if (permit === "Ask" && mayAsk) {
        // A lease that comes too late for this call serves the next.
        return Effect.flatMap(restore(circuit.fleet!.requestLease), () => next(false))
      }
      if (permit === "Ask") return rejected(circuit, caller, circuit.reject("HalfOpen", now))
      if (permit === "Full") return rejected(circuit, caller, circuit.rejectFull(ticker.exact()))
      if (typeof permit === "string") return rejected(circuit, caller, circuit.reject(permit, now))
      if (permit.probe) {
        if (circuit.state !== state) tellTransition(circuit, state)
        tellProbe(circuit)
      }
      if (trace !== undefined) trace(messages.callAdmitted, { circuit: circuit.name, probe: permit.probe })
      return use(permit, restore, mayWait)
    }
    return next(true)
  })

/**
 * Runs a call within its timeout, and a probe within the probes'. Without a timeout it runs in its caller's fiber, a probe as any
 * call, so that what a call may do does not depend on the state of the circuit.
 */
const limited = <A, E, R>(
  circuit: Circuit,
  permit: Permit,
  self: Effect.Effect<A, E, R>,
  fiber: Fiber<unknown, unknown>,
  restore: Restore
): Effect.Effect<A, any, R> => {
  const { deadlines, probeTimeoutMillis, ticker, timeoutMillis } = circuit.shared
  const { slowerThanMillis } = permit
  const limitMillis = permit.probe ? probeTimeoutMillis : timeoutMillis
  if (limitMillis === undefined) return restore(self)
  const timedOut = (): Exit.Exit<never, unknown> => {
    const now = ticker.exact()
    const { state } = circuit
    const slow = slowerThanMillis !== undefined && limitMillis >= slowerThanMillis
    const fields = { circuit: circuit.name, timeout: Duration.millis(limitMillis) }
    const error = withoutStack(() => new BreakerTimeoutError(fields))
    tellTimeout(circuit, fiber, limitMillis)
    circuit.settle(permit, now, { outcome: "Failure", slow, timeout: true, hintMillis: 0, error })
    circuit.overran(permit)
    placeFreed(circuit)
    if (circuit.state !== state) tellTransition(circuit, state, fiber)
    return Exit.fail(error)
  }
  return bounded(self, deadlines(limitMillis), timedOut, fiber, restore)
}

/**
 * Settles the permit by the exit of the call: by its own account, or as `classify` says, and waits for the fleet's part. The
 * call's own result stands. A fiber that is interrupted while it is classified ends as interrupted once it is interruptible.
 */
const settled = <A, E, R>(
  circuit: Circuit,
  permit: Permit,
  running: Effect.Effect<A, E, R>,
  perCall: AnyClassify | undefined,
  restore: Restore,
  mayWait: boolean
): Effect.Effect<A, E, any> => {
  const reported = () => mayWait ? circuit.fleet?.afterCall() : undefined
  const end = (exit: Exit.Exit<A, E>): Effect.Effect<void, never, any> | undefined => {
    ended(circuit, permit)
    if (permit.spent) return reported()
    const outcome = judged(circuit, perCall, exit, restore)
    if (!Effect.isEffect(outcome)) {
      settle(circuit, permit, exit, outcome)
      return reported()
    }
    return Effect.flatMap(outcome, (outcome) => {
      settle(circuit, permit, exit, outcome)
      return reported() ?? Effect.void
    })
  }
  if (!Exit.isExit(running)) return Effect.onExitPrimitive(running, end)
  const recorded = end(running as Exit.Exit<A, E>)
  return recorded === undefined ? running : Effect.flatMap(recorded, (): Effect.Effect<A, E, R> => running)
}

/** A call that had a permit is no longer running. */
export const ended = (circuit: Circuit, permit: Permit): void => {
  circuit.ended(permit)
  placeFreed(circuit)
}

/**
 * The outcome of an exit by the call's `classify`, or the policy's. An exit that is only interruption is `Ignored` without being
 * asked for. It is `Ignored`, too, where `classify` fails, which is logged.
 */
export const judged = (
  circuit: { readonly shared: Pick<Shared, "classify" | "context" | "report"> },
  perCall: AnyClassify | undefined,
  exit: Exit.Exit<unknown, unknown>,
  restore: Restore
): Outcome | Effect.Effect<Outcome, never, any> => {
  const { context, report } = circuit.shared
  const classify = perCall ?? circuit.shared.classify
  if (classify === undefined) return fromExit(exit)
  if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) return ignored
  const failed = (cause: Cause.Cause<never>): Outcome => {
    if (!Cause.hasInterruptsOnly(cause)) report(messages.classifyFailed, cause)
    return ignored
  }
  try {
    const outcome = classify(exit)
    if (!Effect.isEffect(outcome)) return checked(outcome)
    const classification = Effect.map(outcome, checked)
    const provided = perCall === undefined ? Effect.provide(classification, context) : classification
    return Effect.map(
      Effect.exit(restore(provided)),
      (outcome) => Exit.isSuccess(outcome) ? outcome.value : failed(outcome.cause)
    )
  } catch (defect) {
    return failed(Cause.die(defect))
  }
}

/** Types cannot keep a `classify` from returning something else. */
const checked = (value: unknown): Outcome => {
  const outcome = read(value)
  if (outcome === undefined) {
    throw new TypeError("classify must return an Outcome: Outcome.success, failure() or ignored")
  }
  return outcome
}

/** Settles a permit by an outcome. A second settlement does nothing. */
export const settle = (
  circuit: Circuit,
  permit: Permit,
  exit: Exit.Exit<unknown, unknown>,
  outcome: Outcome,
  timeout = false
): void => {
  if (permit.spent) return
  const { ticker } = circuit.shared
  const { slowerThanMillis } = permit
  const couldTrip = outcome._tag !== "Success" || permit.probe || successCouldTrip(circuit.windows)
  const now = couldTrip || slowerThanMillis !== undefined || circuit.isTimed
    ? ticker.exact()
    : ticker.fresh
    ? ticker.now
    : ticker.refresh()
  const slow = slowerThanMillis !== undefined && now - permit.startedAt >= slowerThanMillis
  const hintMillis = outcome._tag === "Success" ? 0 : hintMillisOf(outcome)
  const error = outcome._tag !== "Failure"
    ? undefined
    : Exit.isFailure(exit)
    ? Cause.squash(exit.cause)
    : exit.value
  const { state } = circuit
  circuit.settle(permit, now, { outcome: outcome._tag, slow, timeout, hintMillis, error })
  // A trip of a closed circuit has been told. A probe's verdict is here where the storage answers at once.
  if (permit.probe && circuit.state !== state) tellTransition(circuit, state)
  wake(circuit)
}

/** The `retryAfter` of an outcome in milliseconds; 0 for none, and for a value that is no duration. */
export const hintMillisOf = ({ retryAfter }: Exclude<Outcome, { readonly _tag: "Success" }>): number => {
  if (retryAfter === undefined) return 0
  try {
    const millis: unknown = Duration.toMillis(Duration.fromInputUnsafe(retryAfter))
    return typeof millis === "number" && millis > 0 ? millis : 0
  } catch {
    // The call ends as it ended, whatever its error says.
    return 0
  }
}
