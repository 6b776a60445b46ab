/** A breaker whose state never changes, for tests of code that uses one. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"
import { BreakerOpenError } from "../BreakerError.ts"
import type { Snapshot } from "../Event.ts"
import type { Permit } from "../Guard.ts"
import type { Data, Policy } from "../Policy.ts"
import { refuse } from "./Check.ts"
import { circuitName } from "./CircuitName.ts"
import { refuseKey } from "./Keys.ts"
import { clearProblems, overrideProblems } from "./OperatorInput.ts"
import { PolicyInForce } from "./PolicyInForce.ts"
import { defaultOpenForMillis, keyedParts, type KeyedPolicy, resolve } from "./ResolvedPolicy.ts"
import { withoutStack } from "./WithoutStack.ts"

/** A policy that can be changed, and nothing follows from it. */
const changeable = (name: string, policy: KeyedPolicy, isKeyed: boolean) =>
  new PolicyInForce({ name, isKeyed, declared: policy, defaults: {}, unfit: () => [], apply: () => {} }, policy)

export const testBreaker = (
  circuit: string,
  policy: Policy,
  state: "Closed" | "Open",
  inForce = changeable(circuit, policy, false)
) => {
  const { enforcement, openFor } = resolve(circuit, policy)
  const retryAfter = Duration.millis(typeof openFor === "number" ? openFor : defaultOpenForMillis)
  const error = withoutStack(() =>
    new BreakerOpenError({
      circuit,
      state: "Open",
      openedBy: "instance",
      retryAfter,
      reason: "layerTest"
    })
  )
  // As a breaker's own, so that a test finds what would write into it.
  Object.freeze(error)
  const open = Effect.fail(error)
  const wrap = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | BreakerOpenError, R> =>
    state === "Open" ? open : self
  const wrapStream = <A, E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<A, E | BreakerOpenError, R> =>
    state === "Open" ? Stream.fromEffect(open) : self
  const closed = Effect.sync(() => permitOf(circuit))
  const snapshot: Snapshot = {
    circuit,
    state,
    isolated: state === "Open",
    openings: 0,
    approach: 0,
    concurrent: 0,
    enforcement,
    statistics: {
      success: 0,
      failure: 0,
      ignored: 0,
      timeout: 0,
      slow: 0,
      rejected: 0,
      consecutiveFailures: 0,
      consecutiveSuccesses: 0,
      timesOpened: 0
    },
    windows: []
  }
  return {
    circuit,
    wrap,
    wrapWith: dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, _options: unknown) => wrap(self)),
    permit: state === "Open" ? open : closed,
    awaitPermit: state === "Open" ? Effect.never : closed,
    wrapStream,
    wrapStreamWith: dual(2, <A, E, R>(self: Stream.Stream<A, E, R>, _options: unknown) => wrapStream(self)),
    state: Effect.succeed<Snapshot["state"]>(state),
    snapshot: Effect.succeed(snapshot),
    events: Stream.never,
    override: (options: Parameters<typeof overrideProblems>[0]) => {
      refuse("override", overrideProblems(options))
      return Effect.void
    },
    clearOverride: (options: Parameters<typeof clearProblems>[0]) => {
      refuse("clearOverride", clearProblems(options))
      return Effect.void
    },
    forceHalfOpen: Effect.void,
    reset: Effect.void,
    policy: Effect.sync((): Policy => inForce.policy),
    reconfigure: (change: Data) => inForce.reconfigure(change)
  }
}

/** The circuits of the keys in `open`, or of all keys, are open, and all others closed. */
export const testKeyedBreaker = (name: string, policy: KeyedPolicy, open: ReadonlyArray<string> | "all") => {
  const { own } = keyedParts(policy)
  const inForce = changeable(name, policy, true)
  const circuits = new Map<string, ReturnType<typeof testBreaker>>()
  const get = (key: string): ReturnType<typeof testBreaker> => {
    refuseKey(name, key)
    let circuit = circuits.get(key)
    if (circuit === undefined) {
      const state = open === "all" || open.includes(key) ? "Open" : "Closed"
      circuits.set(key, circuit = testBreaker(circuitName(name, key), own, state, inForce))
    }
    return circuit
  }
  return {
    name,
    wrap: dual(
      2,
      <A, E, R>(self: Effect.Effect<A, E, R>, { key }: Keyed) => Effect.suspend(() => get(key).wrap(self))
    ),
    permit: ({ key }: Keyed) => Effect.suspend(() => get(key).permit),
    awaitPermit: ({ key }: Keyed) => Effect.suspend(() => get(key).awaitPermit),
    wrapStream: dual(
      2,
      <A, E, R>(self: Stream.Stream<A, E, R>, { key }: Keyed) => Stream.suspend(() => get(key).wrapStream(self))
    ),
    get,
    size: Effect.sync(() => circuits.size),
    entries: Effect.suspend(() =>
      Effect.forEach([...circuits], ([key, { snapshot }]) => Effect.map(snapshot, (snapshot) => ({ key, snapshot })))
    ),
    events: Stream.never,
    policy: Effect.sync(() => inForce.policy),
    reconfigure: (change: KeyedPolicy & Data) => inForce.reconfigure(change)
  }
}

interface Keyed {
  readonly key: string
}

/** A permit that settles once, like a breaker's. */
const permitOf = (circuit: string): Permit => {
  let settled = false
  const settle = Effect.sync(() => {
    const isFirst = !settled
    settled = true
    return isFirst
  })
  return {
    circuit,
    probe: false,
    remaining: undefined,
    timeout: undefined,
    settle: () => settle,
    settleExit: () => settle
  }
}
