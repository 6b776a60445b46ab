/**
 * What the circuits of one breaker share: its plan, its clock, its listeners, and where its fibers run.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { UnhandledLogLevel } from "effect/References"
import * as Schedule from "effect/Schedule"
import type { Scope } from "effect/Scope"
import type { Plan } from "../core/Machine.ts"
import { BUCKETS } from "../core/Window.ts"
import type { Classify } from "../Policy.ts"
import { Deadlines } from "./Deadlines.ts"
import type { Member } from "./fleet/Engine.ts"
import { Hub } from "./Hub.ts"
import { isLogged, type Log, makeLog } from "./Log.ts"
import { defaultOpenFor, type Resolved } from "./Resolve.ts"
import { Ticker } from "./Ticker.ts"

/** One second is as fine as statistics need to be, and what the cheapest tick is. */
const COARSEST_TICK = 1000

/** How far a schedule is replayed, which nothing else bounds: an opening must not cost more than about a millisecond. */
const MOST_STEPS = 1000

export interface Guard extends Plan {
  /** The breaker's name; a keyed breaker's circuits add their key. */
  readonly name: string
  readonly timeout: number | undefined
  readonly probeTimeout: number | undefined
  readonly maxConcurrent: number | undefined
  readonly classify: Classify<unknown, unknown, unknown> | undefined
  /** What `classify` needs, from where the breaker was made. */
  readonly context: Context.Context<never>
  /** Whether every call must ask: the policy wants more of it than counting. */
  readonly alwaysAsk: boolean
  readonly clock: Clock.Clock
  readonly ticker: Ticker
  readonly hub: Hub
  readonly deadlines: (millis: number) => Deadlines
  /** Its part in the fleet; `undefined` where the storage cannot bring one about. */
  readonly member: Member | undefined
  /** Where every decision on a call is logged; `undefined` where nobody asks for that much. */
  readonly trace: Log | undefined
  /** Says at `UnhandledLogLevel` what no caller is there to hear. */
  readonly report: (message: string, cause: Cause.Cause<unknown>) => void
}

export const makeGuard = (
  name: string,
  policy: Resolved,
  classify: Classify<unknown, unknown, unknown> | undefined,
  context: Context.Context<never>,
  scope: Scope,
  member: Member | undefined
): Guard => {
  // A call that outlives the scope still has its timeout; what has nothing left to do for a call ends with the scope.
  const fork = (effect: Effect.Effect<void>): void => {
    const fiber = Effect.runForkWith(context)(effect)
    if (scope.state._tag !== "Closed") Fiber.runIn(fiber, scope)
  }
  const clock = Effect.runSyncWith(context)(Clock.Clock)
  const spans = policy.windows.flatMap((window) => window._tag === "Within" ? [window.duration / BUCKETS] : [])
  const ticker = new Ticker(clock, Math.min(COARSEST_TICK, ...spans), fork)
  const report = (message: string, cause: Cause.Cause<unknown>): void =>
    fork(
      Effect.flatMap(UnhandledLogLevel, (level) =>
        level === undefined ? Effect.void : Effect.logWithLevel(level)(`${message}: ${JSON.stringify(name)}`, cause))
    )
  const trace = isLogged(context, "Trace") ? makeLog(context) : undefined
  const queues = new Map<number, Deadlines>()
  return {
    name,
    rule: policy.rule,
    windows: policy.windows,
    slowerThan: policy.slowerThan,
    openFor: makeOpenFor(policy, context, report),
    maxOpenFor: policy.maxOpenFor,
    probes: policy.probes,
    successes: policy.successes,
    lease: policy.lease,
    ramp: policy.ramp,
    timeout: policy.timeout,
    probeTimeout: policy.probeTimeout,
    maxConcurrent: policy.maxConcurrent,
    classify,
    context,
    alwaysAsk: trace !== undefined || classify !== undefined || policy.timeout !== undefined ||
      policy.maxConcurrent !== undefined ||
      policy.slowerThan !== undefined || (member !== undefined && policy.fleet.maxAge !== Infinity),
    clock,
    ticker,
    hub: new Hub(),
    deadlines: (millis) => {
      let queue = queues.get(millis)
      if (queue === undefined) queues.set(millis, queue = new Deadlines(millis, () => ticker.exact(), clock, fork))
      return queue
    },
    member,
    trace,
    report
  }
}

/**
 * The open time of the n-th consecutive opening. A schedule is replayed from its start against a clock that only moves by its
 * own delays, so that its `upTo` and `during` measure time spent open, and jitter is drawn once an opening.
 */
const makeOpenFor = (
  { maxOpenFor, openFor }: Resolved,
  context: Context.Context<never>,
  report: Guard["report"]
): (opening: number) => number => {
  if (typeof openFor === "number") return () => openFor
  return (opening) => {
    const planned = Effect.runSyncExitWith(context)(Effect.gen(function*() {
      const step = yield* Schedule.toStep(openFor)
      let now = yield* Clock.currentTimeMillis
      let delay = 0
      for (let n = 1; n <= Math.min(opening, MOST_STEPS); n++) {
        const next = yield* Effect.exit(step(now, n))
        // A schedule that has run out repeats its last delay; one that died has none to trust.
        if (Exit.isFailure(next)) {
          if (Cause.hasDies(next.cause)) return yield* Effect.failCause(next.cause)
          break
        }
        delay = Duration.toMillis(next.value[1])
        now += Math.min(delay, maxOpenFor)
      }
      return delay
    }))
    if (Exit.isSuccess(planned)) return Math.min(Math.max(planned.value, 1), maxOpenFor)
    report("The schedule of an open time gave none, 60 seconds are taken", planned.cause)
    return Math.min(defaultOpenFor, maxOpenFor)
  }
}
