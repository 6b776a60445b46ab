/**
 * The part of a breaker that its circuits share: its policy as numbers, its clock, its listeners, and its fibers.
 *
 * **Invariants**
 *
 * - `replacePolicy` is the only one that writes here, and replaces all numbers of the policy in one step. What must not change under
 *   a call that is under way, such as its timeout, is read when the call is admitted and kept with it.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { UnhandledLogLevel } from "effect/References"
import * as Schedule from "effect/Schedule"
import type { Scope } from "effect/Scope"
import type { Plan } from "../core/Plan.ts"
import { BUCKETS } from "../core/Window.ts"
import type { Classify } from "../Policy.ts"
import { Deadlines } from "./Deadlines.ts"
import type { Entry } from "./fleet/Fleet.ts"
import { makeFork } from "./Fork.ts"
import { Hub } from "./Hub.ts"
import { KeptErrors } from "./KeptErrors.ts"
import { isLogged, type Log, makeLog } from "./Log.ts"
import { type Message, messages } from "./Messages.ts"
import { Meter } from "./Meter.ts"
import { OpenKeys } from "./OpenKeys.ts"
import { defaultOpenForMillis, type Resolved } from "./ResolvedPolicy.ts"
import { Ticker } from "./Ticker.ts"
import * as Tracing from "./Tracing.ts"
import { TransitionLog } from "./TransitionLog.ts"

/** Statistics need no better resolution than this, and longer ticks save nothing measurable. */
const LONGEST_TICK_MILLIS = 1000

/** A schedule is replayed no further than this, so that an opening costs no more than about a millisecond. */
const MOST_STEPS = 1000

/** The policy in force, as numbers. */
interface InForce extends Plan {
  readonly timeoutMillis: number | undefined
  readonly probeTimeoutMillis: number | undefined
  readonly maxConcurrent: number | undefined
  readonly enforcement: Resolved["enforcement"]
  readonly approachAt: Resolved["approachAt"]
  /** Whether every call takes a permit, because the policy wants more of it than counting. */
  readonly needsPermits: boolean
}

export interface Shared extends InForce {
  /** The breaker's name; a keyed breaker's circuits add their key. */
  readonly name: string
  readonly classify: Classify<unknown, unknown, unknown> | undefined
  /** The context in which the breaker was made: it provides the services that `classify` needs. */
  readonly context: Context.Context<never>
  /** The tracing option, as it was set when the breaker was made. */
  readonly tracing: Tracing.Mode
  readonly clock: Clock.Clock
  readonly ticker: Ticker
  /** A number from 0 to 1, of the `Random` in whose context the breaker was made. */
  readonly random: () => number
  /** How many circuits of a keyed breaker may be open. */
  readonly openKeys: OpenKeys
  readonly hub: Hub
  readonly meter: Meter
  readonly keptErrors: KeptErrors
  readonly deadlines: (millis: number) => Deadlines
  /** The breaker's entry to its fleet; `undefined` where the storage cannot decide between instances. */
  readonly fleet: Entry | undefined
  /** Logs a line of the breaker's own. */
  readonly log: Log
  /** Logs changes of state and overrides. */
  readonly transitionLog: TransitionLog
  /** Logs what a circuit comes close to; `undefined` unless the minimum level was `Debug` or lower when the breaker was made. */
  readonly debug: Log | undefined
  /** Logs each decision on a call; `undefined` unless the minimum level was `Trace` when the breaker was made. */
  readonly trace: Log | undefined
  /** Logs a failure that no caller waits for, at `UnhandledLogLevel`. */
  readonly report: (line: Message<never>, cause: Cause.Cause<unknown>) => void
}

export const makeShared = (
  name: string,
  policy: Resolved,
  classify: Classify<unknown, unknown, unknown> | undefined,
  context: Context.Context<never>,
  scope: Scope,
  instance: string,
  fleet: Entry | undefined
): Shared => {
  const start = makeFork(context)
  // A call that outlives the scope still has its timeout. Fibers that serve no call end with the scope.
  const fork = (effect: Effect.Effect<void>): void => {
    const fiber = start(effect)
    if (scope.state._tag !== "Closed") Fiber.runIn(fiber, scope)
  }
  const clock = Effect.runSyncWith(context)(Clock.Clock)
  const ticker = new Ticker(clock, tickMillis(policy), fork)
  const report: Shared["report"] = ({ text }, cause) =>
    fork(
      Effect.flatMap(UnhandledLogLevel, (level) =>
        level === undefined ? Effect.void : Effect.logWithLevel(level)(`${text}: ${JSON.stringify(name)}`, cause))
    )
  const log = makeLog(context)
  const debug = isLogged(context, "Debug") ? log : undefined
  const trace = isLogged(context, "Trace") ? log : undefined
  const queues = new Map<number, Deadlines>()
  const random = Context.get(context, Random.Random)
  return {
    ...inForce(policy, { classify, context, fleet, report, trace }),
    name,
    classify,
    context,
    tracing: Context.get(context, Tracing.Tracing),
    clock,
    ticker,
    random: () => random.nextDoubleUnsafe(),
    openKeys: new OpenKeys(),
    hub: new Hub(),
    meter: new Meter(),
    keptErrors: new KeptErrors(),
    deadlines: (millis) => {
      let queue = queues.get(millis)
      if (queue === undefined) queues.set(millis, queue = new Deadlines(millis, () => ticker.exact(), clock, fork))
      return queue
    },
    fleet,
    log,
    transitionLog: new TransitionLog(name, instance, log),
    debug,
    trace,
    report
  }
}

const inForce = (
  policy: Resolved,
  { classify, context, fleet, report, trace }: Pick<Shared, "classify" | "context" | "fleet" | "report" | "trace">
): InForce => ({
  rule: policy.rule,
  windows: policy.windows,
  throttle: policy.throttle,
  slowerThanMillis: policy.slowerThanMillis,
  openForMillis: makeOpenFor(policy, context, report),
  maxOpenForMillis: policy.maxOpenForMillis,
  probes: policy.probes,
  successes: policy.successes,
  failures: policy.failures,
  leaseMillis: policy.leaseMillis,
  rampMillis: policy.rampMillis,
  timeoutMillis: policy.timeoutMillis,
  probeTimeoutMillis: policy.probeTimeoutMillis,
  // A full bulkhead would reject calls.
  maxConcurrent: policy.enforcement === "enforce" ? policy.maxConcurrent : undefined,
  enforcement: policy.enforcement,
  approachAt: policy.approachAt,
  needsPermits: policy.enforcement !== "enforce" || trace !== undefined || classify !== undefined ||
    policy.timeoutMillis !== undefined ||
    policy.maxConcurrent !== undefined || policy.slowerThanMillis !== undefined || fleet?.readsBeforeCalls === true
})

const tickMillis = ({ windows }: Resolved): number => {
  const spans = windows.flatMap((window) => window._tag === "Within" ? [window.duration / BUCKETS] : [])
  return Math.min(LONGEST_TICK_MILLIS, ...spans)
}

/** Puts another policy in force. The fleet's part of it comes first, because it decides whether calls wait for a read. */
export const replacePolicy = (shared: Shared, policy: Resolved): void => {
  Object.assign(shared, inForce(policy, shared))
  shared.ticker.setPeriod(tickMillis(policy))
}

/**
 * The open time of the n-th consecutive opening. A schedule is replayed from its start against a clock that only moves by its
 * own delays, so that its `upTo` and `during` measure time spent open, and jitter is drawn once an opening.
 */
const makeOpenFor = (
  { maxOpenForMillis, openFor }: Resolved,
  context: Context.Context<never>,
  report: Shared["report"]
): (opening: number) => number => {
  if (typeof openFor === "number") return () => openFor
  return (opening) => {
    const planned = Effect.runSyncExitWith(context)(Effect.gen(function*() {
      const step = yield* Schedule.toStep(openFor)
      let now = yield* Clock.currentTimeMillis
      let delay = 0
      for (let n = 1; n <= Math.min(opening, MOST_STEPS); n++) {
        const next = yield* Effect.exit(step(now, n))
        // A schedule that has ended repeats its last delay. One that died gives no delay.
        if (Exit.isFailure(next)) {
          if (Cause.hasDies(next.cause)) return yield* Effect.failCause(next.cause)
          break
        }
        delay = Duration.toMillis(next.value[1])
        now += Math.min(delay, maxOpenForMillis)
      }
      return delay
    }))
    if (Exit.isSuccess(planned)) return Math.min(Math.max(planned.value, 1), maxOpenForMillis)
    report(messages.scheduleFailed, planned.cause)
    return Math.min(defaultOpenForMillis, maxOpenForMillis)
  }
}
