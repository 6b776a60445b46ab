/** A breaker whose state never changes, for tests of code that uses one. */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Fiber } from "effect/Fiber"
import { dual, identity } from "effect/Function"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { BreakerOpenError, BreakerTimeoutError, BulkheadFullError } from "../BreakerError.ts"
import type { Snapshot } from "../Event.ts"
import type { Permit } from "../Guard.ts"
import { failure, ignored, type Outcome } from "../Outcome.ts"
import type { Data, Policy } from "../Policy.ts"
import { StorageError } from "../Storage/Storage.ts"
import { type AnyClassify, enforcementOf, judged } from "./Call.ts"
import { oneOf, refuse } from "./Check.ts"
import { circuitName } from "./CircuitName.ts"
import { checkStreamOptions, type StreamOptions, underPermit } from "./GuardedStream.ts"
import { refuseKey } from "./Keys.ts"
import { unhandled } from "./Log.ts"
import { clearProblems, overrideProblems } from "./OperatorInput.ts"
import { PolicyInForce } from "./PolicyInForce.ts"
import { defaultOpenForMillis, keyedParts, type KeyedPolicy, resolve, type Resolved } from "./ResolvedPolicy.ts"
import type { Shared } from "./Shared.ts"
import { bypassed } from "./TakenPermit.ts"
import type { TestState } from "./TestState.ts"
import { withoutStack } from "./WithoutStack.ts"

type TestError = BreakerOpenError | BreakerTimeoutError | BulkheadFullError | StorageError

/** A policy that can be changed, and nothing follows from it. */
const changeable = (name: string, policy: KeyedPolicy, isKeyed: boolean) =>
  new PolicyInForce({ name, isKeyed, declared: policy, defaults: {}, unfit: () => [], apply: () => {} }, policy)

const tags: ReadonlyArray<TestError["_tag"]> = [
  "BreakerOpenError",
  "BreakerTimeoutError",
  "BulkheadFullError",
  "StorageError"
]

/** The state and the error of a circuit, which agree with each other. */
const plan = (
  circuit: string,
  resolved: Resolved,
  { fails, state }: TestState<TestError>
): { readonly state: Snapshot["state"]; readonly error: TestError | undefined } => {
  const tag = typeof fails === "string" ? fails : fails?._tag
  const isOpen = state === "Open" || (state === undefined && tag === "BreakerOpenError")
  const is = isOpen ? "Open" : state ?? "Closed"
  const possible = isOpen ? tags.slice(0, 1) : is === "HalfOpen" ? tags : tags.slice(1)
  refuse(`layerTest of circuit ${JSON.stringify(circuit)}`, [
    ...oneOf("state", is, ["Closed", "Open", "HalfOpen"]),
    ...(tag === undefined ? [] : oneOf(`fails in state ${is}`, tag, possible))
  ])
  const isError = fails !== undefined && typeof fails !== "string"
  const error = isError ? fails : isOpen || tag !== undefined
    ? errorOf(circuit, resolved, is, tag ?? "BreakerOpenError")
    : undefined
  return { state: is, error }
}

const errorOf = (
  circuit: string,
  { maxConcurrent = 1, openFor, probeTimeoutMillis, timeoutMillis }: Resolved,
  state: Snapshot["state"],
  tag: TestError["_tag"]
): TestError => {
  switch (tag) {
    case "BreakerOpenError": {
      const retryAfter = Duration.millis(typeof openFor === "number" ? openFor : defaultOpenForMillis)
      const is = state === "HalfOpen" ? state : "Open"
      const fields = { circuit, state: is, openedBy: "instance", retryAfter, reason: "layerTest" } as const
      // Frozen as a breaker's own, so that a test finds what would write into it.
      const error = withoutStack(() => new BreakerOpenError(fields))
      Object.freeze(error)
      return error
    }
    case "BreakerTimeoutError": {
      const limitMillis = (state === "HalfOpen" ? probeTimeoutMillis : timeoutMillis) ?? 1000
      return withoutStack(() => new BreakerTimeoutError({ circuit, timeout: Duration.millis(limitMillis) }))
    }
    case "BulkheadFullError":
      return withoutStack(() => new BulkheadFullError({ circuit, maxConcurrent }))
    case "StorageError":
      return withoutStack(() =>
        new StorageError({ operation: "sync", circuit, reason: "Unavailable", cause: "layerTest" })
      )
  }
}

/** The counts of a circuit. */
class Counts {
  success = 0
  failure = 0
  ignored = 0
  timeout = 0
  readonly slow = 0
  rejected = 0
  consecutiveFailures = 0
  consecutiveSuccesses = 0
  readonly timesOpened = 0
  concurrent = 0

  ended({ _tag }: Outcome): void {
    if (_tag === "Ignored") this.ignored++
    else if (_tag === "Success") {
      this.success++
      this.consecutiveSuccesses++
      this.consecutiveFailures = 0
    } else {
      this.failure++
      this.consecutiveFailures++
      this.consecutiveSuccesses = 0
    }
  }

  /** A call was not made, and has failed with this error. A storage that does not answer rejects nothing. */
  failedWith({ _tag }: TestError): void {
    if (_tag === "BreakerTimeoutError") {
      this.timeout++
      this.ended(failure())
    } else if (_tag !== "StorageError") this.rejected++
  }
}

/** How the calls of a circuit are judged. */
type Judge = Pick<Shared, "classify" | "context" | "report">

/** A permit that settles once, like a breaker's. */
class TestPermit implements Permit {
  readonly circuit: string
  readonly probe: boolean
  readonly remaining: Duration.Duration | undefined
  readonly timeout = undefined
  readonly hasLapsed = false
  readonly #counts: Counts
  readonly #judge: Judge
  #settled = false

  constructor(circuit: string, counts: Counts, judge: Judge, leaseMillis: number | undefined) {
    this.circuit = circuit
    this.probe = leaseMillis !== undefined
    this.remaining = leaseMillis === undefined ? undefined : Duration.millis(leaseMillis)
    this.#counts = counts
    this.#judge = judge
    counts.concurrent++
  }

  readonly settle = (outcome: Outcome): Effect.Effect<boolean> =>
    Effect.sync(() => {
      if (this.#settled) return false
      this.#settled = true
      this.#counts.concurrent--
      this.#counts.ended(outcome)
      return true
    })

  readonly settleExit = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<boolean> => this.settleBy(undefined, exit)

  settleBy(classify: AnyClassify | undefined, exit: Exit.Exit<unknown, unknown>): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const outcome = judged({ shared: this.#judge }, classify, exit, identity)
      return Effect.isEffect(outcome)
        ? Effect.flatMap(outcome as Effect.Effect<Outcome>, this.settle)
        : this.settle(outcome)
    })
  }
}

/** How a circuit of a test admits calls, and what it has counted. */
class TestCircuit {
  readonly counts = new Counts()
  readonly state: Snapshot["state"]
  readonly #error: TestError | undefined
  readonly #name: string
  readonly #judge: Judge
  readonly #leaseMillis: number | undefined

  constructor(name: string, resolved: Resolved, of: TestState<TestError>, judge: Judge) {
    const { error, state } = plan(name, resolved, of)
    this.state = state
    this.#error = error
    this.#name = name
    this.#judge = judge
    this.#leaseMillis = state === "HalfOpen" ? resolved.leaseMillis : undefined
  }

  /** The error of a call that is not made. A permit has no timeout of its own. */
  refusal(fiber: Fiber<unknown, unknown>, isPermit: boolean): Effect.Effect<never, TestError> | undefined {
    const error = this.#error
    if (error === undefined || enforcementOf(fiber) !== "enforce") return undefined
    if (isPermit && error._tag === "BreakerTimeoutError") return undefined
    this.counts.failedWith(error)
    return Effect.fail(error)
  }

  permit(): TestPermit {
    return new TestPermit(this.#name, this.counts, this.#judge, this.#leaseMillis)
  }

  wrap<A, E, R>(self: Effect.Effect<A, E, R>, classify: AnyClassify | undefined): Effect.Effect<A, any, R> {
    return Effect.withFiber((fiber): Effect.Effect<A, any, R> => {
      if (enforcementOf(fiber) === "bypass") return self
      const refusal = this.refusal(fiber, false)
      if (refusal !== undefined) return refusal
      const permit = this.permit()
      return Effect.onExit(self, (exit) => permit.settleBy(classify, exit))
    })
  }

  readonly take = Effect.withFiber((fiber): Effect.Effect<Permit, any, Scope.Scope> => {
    if (enforcementOf(fiber) === "bypass") return Effect.succeed(bypassed(this.#name))
    return this.refusal(fiber, true) ??
      Effect.acquireRelease(Effect.sync(() => this.permit()), (permit) => permit.settle(ignored))
  })

  /** Waits for ever where a breaker would, because the state never changes. */
  readonly awaitTurn = Effect.catchIf(this.take, (error) => error._tag !== "StorageError", () => Effect.never)

  wrapStream<A, E, R>(self: Stream.Stream<A, E, R>, options: StreamOptions): Stream.Stream<A, any, R> {
    checkStreamOptions(options)
    return Stream.unwrap(Effect.withFiber((fiber) => {
      if (enforcementOf(fiber) === "bypass") return Effect.succeed(self)
      return this.refusal(fiber, false) ??
        Effect.map(
          Effect.acquireRelease(Effect.sync(() => this.permit()), (permit) => permit.settle(ignored)),
          (permit): Stream.Stream<A, any, R> => underPermit(self, permit, options)
        )
    }))
  }
}

export const testBreaker = (
  circuit: string,
  policy: Policy,
  of: TestState<any>,
  context: Context.Context<never>,
  inForce = changeable(circuit, policy, false)
) => {
  const resolved = resolve(circuit, policy)
  const report: Judge["report"] = (line, cause) => {
    Effect.runForkWith(context)(unhandled(line, cause))
  }
  const test = new TestCircuit(circuit, resolved, of, { classify: policy.classify, context, report })
  const { counts, state } = test
  const snapshot = Effect.sync((): Snapshot => {
    const { concurrent, ...statistics } = counts
    return {
      circuit,
      state,
      isolated: state !== "Closed",
      openings: 0,
      approach: 0,
      shed: 0,
      concurrent,
      enforcement: resolved.enforcement,
      statistics,
      windows: []
    }
  })
  return {
    circuit,
    wrap: <A, E, R>(self: Effect.Effect<A, E, R>) => test.wrap(self, undefined),
    wrapWith: dual(
      2,
      <A, E, R>(self: Effect.Effect<A, E, R>, { classify }: { readonly classify?: AnyClassify | undefined }) =>
        test.wrap(self, classify)
    ),
    permit: test.take,
    awaitPermit: test.awaitTurn,
    wrapStream: <A, E, R>(self: Stream.Stream<A, E, R>) => test.wrapStream(self, {}),
    wrapStreamWith: dual(
      2,
      <A, E, R>(self: Stream.Stream<A, E, R>, options: StreamOptions) => test.wrapStream(self, options)
    ),
    state: Effect.succeed<Snapshot["state"]>(state),
    snapshot,
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

/** Which circuits of a keyed breaker are open, and what those of some keys are. */
export interface TestKeys {
  readonly open: ReadonlyArray<string> | "all"
  readonly keys: Readonly<Record<string, TestState<any>>>
}

export const testKeyedBreaker = (
  name: string,
  policy: KeyedPolicy,
  { keys, open }: TestKeys,
  context: Context.Context<never>
) => {
  const { own } = keyedParts(policy)
  const inForce = changeable(name, policy, true)
  const circuits = new Map<string, ReturnType<typeof testBreaker>>()
  const make = (key: string, of: TestState<any>) => testBreaker(circuitName(name, key), own, of, context, inForce)
  // A mistake fails where the layer is built, and not with the first call of its key.
  for (const [key, of] of Object.entries(keys)) {
    refuseKey(name, key)
    make(key, of)
  }
  const get = (key: string): ReturnType<typeof testBreaker> => {
    refuseKey(name, key)
    let circuit = circuits.get(key)
    if (circuit === undefined) {
      const others: TestState<any> = { state: open === "all" || open.includes(key) ? "Open" : "Closed" }
      circuits.set(key, circuit = make(key, Object.hasOwn(keys, key) ? keys[key]! : others))
    }
    return circuit
  }
  return {
    name,
    wrap: dual(
      2,
      <A, E, R>(self: Effect.Effect<A, E, R>, { key, ...options }: Keyed) =>
        Effect.suspend(() => get(key).wrapWith(self, options))
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
  readonly classify?: AnyClassify | undefined
}
