/** What Effect documents of a `CircuitBreakerStore`, as laws. */
import { assert } from "@effect/vitest"
import { Duration, Effect, Exit, Scope } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { type Law, reasonOf, type Time } from "./law.ts"

type Store = CircuitBreaker.CircuitBreakerStore["Service"]

export interface Lease {
  readonly probeLeaseMillis?: number
  readonly maxLeaseMillis?: number
}

export interface Subject extends Time {
  /** A store as another process has it: all of one subject share their circuits. */
  readonly store: (lease?: Lease) => Effect.Effect<Store, unknown, Scope.Scope>
}

type Outcome = Parameters<Store["record"]>[0]["outcome"]

/** The store of a process, with one policy and one open time. */
class Process {
  readonly store: Store
  readonly openFor: Duration.Duration
  readonly tripPolicy: CircuitBreaker.TripPolicy

  constructor(store: Store, openForMillis: number, tripPolicy = CircuitBreaker.consecutive(3)) {
    this.store = store
    this.openFor = Duration.millis(openForMillis)
    this.tripPolicy = tripPolicy
  }

  /** Admits a call whose scope closes at once. Whoever records it within the lease does not notice. */
  readonly admit = (key: string) => Effect.scoped(this.store.admit(key))

  /** Admits a call that runs until its scope is closed. */
  readonly hold = (key: string) =>
    Effect.gen({ self: this }, function*() {
      const scope = yield* Effect.acquireRelease(Scope.make(), (scope, exit) => Scope.close(scope, exit))
      const admission = yield* Scope.provide(this.store.admit(key), scope)
      return { ...admission, end: Scope.close(scope, Exit.void) }
    })

  readonly record = (key: string, { generation }: { readonly generation: number }, outcome: Outcome) =>
    this.store.record({ key, generation, outcome, tripPolicy: this.tripPolicy, openFor: this.openFor })

  /** Admits and records a call. */
  readonly call = (key: string, outcome: Outcome) =>
    Effect.scoped(Effect.flatMap(this.store.admit(key), (admission) => this.record(key, admission, outcome)))

  readonly calls = (key: string, outcomes: string) =>
    Effect.forEach(
      [...outcomes],
      (letter) => this.call(key, letter === "F" ? "Failure" : letter === "S" ? "Success" : "Ignored")
    )

  readonly tag = (key: string) => Effect.map(this.store.state(key), ({ _tag }) => _tag)
}

interface Options extends Lease {
  readonly openUnits?: number
  readonly tripPolicy?: CircuitBreaker.TripPolicy
}

const processOf = (subject: Subject, { openUnits = 3, tripPolicy, ...lease }: Options = {}) =>
  Effect.map(subject.store(lease), (store) => new Process(store, openUnits * subject.unitMillis, tripPolicy))

const law = (name: string, check: Law<Subject>["check"]): Law<Subject> => ({ name, check })

const rate = (threshold: number, minimumCalls: number, size: number) =>
  CircuitBreaker.rate({ threshold, minimumCalls, size })

export const laws: ReadonlyArray<Law<Subject>> = [
  law("a circuit that was never used is Closed, and reading it changes nothing", (subject) =>
    Effect.gen(function*() {
      const { admit, store } = yield* processOf(subject)
      assert.deepStrictEqual(yield* store.state("a"), { _tag: "Closed", key: "a" })
      const { consecutiveOpenings, probe, transition } = yield* admit("a")
      assert.deepStrictEqual({ consecutiveOpenings, probe, transition }, {
        consecutiveOpenings: 0,
        probe: false,
        transition: undefined
      })
    })),

  law("the n-th consecutive failure opens, and nothing before it", (subject) =>
    Effect.gen(function*() {
      const { calls, openFor, store } = yield* processOf(subject)
      assert.deepStrictEqual(yield* calls("a", "FFSFIF"), Array(6).fill(undefined))
      assert.strictEqual((yield* store.state("a"))._tag, "Closed")
      assert.deepStrictEqual(yield* calls("a", "F"), [
        { key: "a", from: "Closed", to: "Open", retryAfter: openFor, consecutiveOpenings: 1 }
      ])
    })),

  ...[
    { policy: rate(0.5, 4, 4), outcomes: "FSF", opens: "F" },
    { policy: rate(0.5, 4, 4), outcomes: "FSF", opens: "S" },
    { policy: rate(0.5, 4, 4), outcomes: "FISIFI", opens: "S" },
    { policy: rate(0.5, 3, 4), outcomes: "SSFSSSF", opens: "F" },
    { policy: rate(1, 3, 3), outcomes: "SFF", opens: "F" },
    { policy: rate(0, 2, 2), outcomes: "SSSS", opens: "F" },
    { policy: rate(0.3, 10, 20), outcomes: "SFSFSFSSS", opens: "S" }
  ].map(({ opens, outcomes, policy }) =>
    law(
      `${JSON.stringify(policy)} stays closed over ${outcomes} and opens with ${opens}`,
      (subject) =>
        Effect.gen(function*() {
          const { calls, tag } = yield* processOf(subject, { tripPolicy: policy })
          yield* calls("a", outcomes)
          assert.strictEqual(yield* tag("a"), "Closed")
          const [transition] = yield* calls("a", opens)
          assert.strictEqual(transition?.to, "Open")
          assert.strictEqual(yield* tag("a"), "Open")
        })
    )
  ),

  law("an open circuit refuses with the rest of its open time", (subject) =>
    Effect.gen(function*() {
      const { admit, calls, openFor, store } = yield* processOf(subject)
      yield* calls("a", "FFF")
      yield* subject.advance(1)
      const reason = yield* reasonOf(admit("a"))
      assert.strictEqual(reason._tag, "CircuitOpen")
      const rest = Duration.toMillis((reason as CircuitBreaker.CircuitOpen).retryAfter)
      assert.isAbove(rest, 0)
      assert.isAtMost(rest, Duration.toMillis(openFor) - subject.unitMillis)
      const state = yield* store.state("a")
      assert.deepInclude(state, { _tag: "Open", key: "a", consecutiveOpenings: 1 })
      assert.strictEqual(yield* Effect.map(reasonOf(admit("a")), (reason) => "key" in reason && reason.key), "a")
    })),

  law("circuits of other keys are others, whatever the key", (subject) =>
    Effect.gen(function*() {
      const { calls, tag } = yield* processOf(subject)
      const keys = ["a", "A", "a ", "", "}x{", "é", "e\u0301", "\0", "k".repeat(500), "__proto__", "🙂"]
      for (const [index, key] of keys.entries()) if (index % 2 === 0) yield* calls(key, "FFF")
      for (const [index, key] of keys.entries()) {
        assert.strictEqual(yield* tag(key), index % 2 === 0 ? "Open" : "Closed", JSON.stringify(key))
      }
    })),

  law("after the open time it reads as Open until a call becomes the probe", (subject) =>
    Effect.gen(function*() {
      const { calls, hold, store } = yield* processOf(subject)
      yield* calls("a", "FFF")
      yield* subject.advance(4)
      const waiting = yield* store.state("a")
      assert.deepStrictEqual(waiting, { _tag: "Open", key: "a", retryAfter: Duration.zero, consecutiveOpenings: 1 })
      const probe = yield* hold("a")
      assert.isTrue(probe.probe)
      assert.strictEqual(probe.consecutiveOpenings, 1)
      assert.deepStrictEqual(probe.transition, { key: "a", from: "Open", to: "HalfOpen" })
      const probing = yield* store.state("a")
      assert.deepStrictEqual(probing, { _tag: "HalfOpen", key: "a", probing: true, consecutiveOpenings: 1 })
      const reason = yield* reasonOf(Effect.scoped(store.admit("a")))
      assert.deepStrictEqual([reason._tag, "key" in reason && reason.key], ["CircuitHalfOpen", "a"])
    })),

  law(
    "a probe that succeeds closes, one that fails reopens, for longer each time",
    (subject) =>
      Effect.gen(function*() {
        const { call, calls, openFor } = yield* processOf(subject)
        yield* calls("a", "FFF")
        yield* subject.advance(4)
        assert.deepStrictEqual(yield* call("a", "Failure"), {
          key: "a",
          from: "HalfOpen",
          to: "Open",
          retryAfter: openFor,
          consecutiveOpenings: 2
        })
        yield* subject.advance(4)
        assert.deepStrictEqual(yield* call("a", "Success"), { key: "a", from: "HalfOpen", to: "Closed" })
        assert.deepStrictEqual(yield* calls("a", "FF"), [undefined, undefined])
        assert.deepInclude((yield* calls("a", "F"))[0], { from: "Closed", to: "Open", consecutiveOpenings: 3 })
      })
  ),

  law("an ignored probe frees its place", (subject) =>
    Effect.gen(function*() {
      const { admit, call, calls, store } = yield* processOf(subject)
      yield* calls("a", "FFF")
      yield* subject.advance(4)
      assert.strictEqual(yield* call("a", "Ignored"), undefined)
      const free = yield* store.state("a")
      assert.deepStrictEqual(free, { _tag: "HalfOpen", key: "a", probing: false, consecutiveOpenings: 1 })
      const next = yield* admit("a")
      assert.deepStrictEqual([next.probe, next.transition], [true, undefined])
    })),

  law("an outcome of an older generation changes nothing", (subject) =>
    Effect.gen(function*() {
      const { admit, call, calls, hold, record, tag } = yield* processOf(subject)
      const late = yield* admit("a")
      yield* calls("a", "FFF")
      assert.strictEqual(yield* record("a", late, "Success"), undefined)
      assert.strictEqual(yield* tag("a"), "Open")
      yield* subject.advance(4)
      const first = yield* hold("a")
      assert.strictEqual(yield* record("a", late, "Failure"), undefined)
      assert.strictEqual(yield* tag("a"), "HalfOpen")
      yield* record("a", first, "Ignored")
      const second = yield* hold("a")
      assert.strictEqual(yield* record("a", first, "Success"), undefined)
      assert.strictEqual(yield* tag("a"), "HalfOpen")
      assert.deepInclude(yield* record("a", second, "Success"), { to: "Closed" })
      assert.strictEqual(yield* record("a", second, "Failure"), undefined)
      for (let n = 0; n < 5; n++) yield* record("a", late, "Failure")
      assert.strictEqual(yield* call("a", "Failure"), undefined)
      assert.strictEqual(yield* tag("a"), "Closed")
    })),

  law(
    "a close keeps the count of openings until the circuit was closed for as long as it was last open",
    (subject) =>
      Effect.gen(function*() {
        const { admit, call, calls } = yield* processOf(subject)
        yield* calls("a", "FFF")
        yield* subject.advance(4)
        yield* call("a", "Success")
        assert.strictEqual((yield* admit("a")).consecutiveOpenings, 1)
        yield* subject.advance(1)
        assert.strictEqual((yield* admit("a")).consecutiveOpenings, 1)
        yield* subject.advance(3)
        assert.strictEqual((yield* admit("a")).consecutiveOpenings, 0)
        assert.deepInclude((yield* calls("a", "FFF"))[2], { to: "Open", consecutiveOpenings: 1 })
      })
  ),

  law(
    "a call admitted before the reset opens for the time that it computed, and the count begins again",
    (subject) =>
      Effect.gen(function*() {
        const { admit, call, calls, openFor, record } = yield* processOf(subject)
        yield* calls("a", "FFF")
        yield* subject.advance(4)
        yield* call("a", "Success")
        const admitted = [yield* admit("a"), yield* admit("a"), yield* admit("a")]
        yield* subject.advance(4)
        yield* admit("a")
        const [, , opened] = yield* Effect.forEach(admitted, (admission) => record("a", admission, "Failure"))
        assert.deepInclude(opened, { to: "Open", retryAfter: openFor, consecutiveOpenings: 1 })
      })
  ),

  law(
    "outcomes of an older generation at once do not trip the circuit that has closed since",
    (subject) =>
      Effect.gen(function*() {
        const { admit, call, calls, record, tag } = yield* processOf(subject)
        const late = yield* admit("a")
        yield* calls("a", "FFF")
        yield* subject.advance(4)
        yield* call("a", "Success")
        const outcomes = ["Success", "Failure", "Failure", "Failure"] as const
        // The first one is under way while the others wait.
        yield* Effect.forEach(["Success", ...outcomes] as const, (outcome) => record("a", late, outcome), {
          concurrency: "unbounded"
        })
        assert.strictEqual(yield* tag("a"), "Closed")
      })
  ),

  law("of failures at once one opens, and of calls at once one is the probe", (subject) =>
    Effect.gen(function*() {
      const { admit, calls, record, store } = yield* processOf(subject)
      const atOnce = { concurrency: "unbounded" } as const
      const admitted = yield* Effect.all(Array.from({ length: 20 }, () => admit("a")), atOnce)
      const recorded = yield* Effect.forEach(admitted, (admission) => record("a", admission, "Failure"), atOnce)
      assert.strictEqual(recorded.filter((transition) => transition !== undefined).length, 1)
      yield* subject.advance(4)
      const exits = yield* Effect.all(Array.from({ length: 20 }, () => Effect.exit(store.admit("a"))), atOnce)
      const [probe, ...others] = exits.filter(Exit.isSuccess)
      assert.isTrue(probe?.value.probe)
      assert.lengthOf(others, 0)
      yield* calls("b", "F")
    })),

  law("outcomes at once count in the order in which they came", (subject) =>
    Effect.gen(function*() {
      const { admit, record, tag } = yield* processOf(subject)
      const outcomesAtOnce = (key: string, outcomes: string) =>
        Effect.gen(function*() {
          const admission = yield* admit(key)
          yield* Effect.forEach(
            [...outcomes],
            (letter) => record(key, admission, letter === "F" ? "Failure" : "Success"),
            { concurrency: "unbounded" }
          )
          return yield* tag(key)
        })
      assert.strictEqual(yield* outcomesAtOnce("a", "FFSFFSFF"), "Closed")
      assert.strictEqual(yield* outcomesAtOnce("b", "SFFFS"), "Open")
      assert.strictEqual(yield* outcomesAtOnce("c", "FFFS"), "Open")
      assert.strictEqual(yield* outcomesAtOnce("d", "FSFFF"), "Open")
    }))
]

/** Laws of stores that processes share, with leases. */
export const sharedLaws: ReadonlyArray<Law<Subject>> = [
  law("processes share streaks, last calls, states and probes", (subject) =>
    Effect.gen(function*() {
      const [a, b] = [yield* processOf(subject), yield* processOf(subject)]
      yield* a.calls("streak", "FF")
      assert.deepInclude((yield* b.calls("streak", "F"))[0], { to: "Open" })
      assert.strictEqual((yield* reasonOf(a.admit("streak")))._tag, "CircuitOpen")

      const tripPolicy = rate(0.5, 6, 6)
      const [c, d] = [yield* processOf(subject, { tripPolicy }), yield* processOf(subject, { tripPolicy })]
      yield* c.calls("rate", "FFF")
      yield* d.calls("rate", "SS")
      assert.deepInclude((yield* d.calls("rate", "S"))[0], { to: "Open" })

      yield* subject.advance(4)
      yield* b.hold("streak")
      assert.strictEqual((yield* reasonOf(a.admit("streak")))._tag, "CircuitHalfOpen")
    })),

  law("the lease of a probe is renewed while it runs", (subject) =>
    Effect.gen(function*() {
      const lease = { probeLeaseMillis: 3 * subject.unitMillis }
      const [a, b] = [yield* processOf(subject, lease), yield* processOf(subject, lease)]
      yield* a.calls("a", "FFF")
      yield* subject.advance(4)
      const probe = yield* a.hold("a")
      for (let n = 0; n < 8; n++) {
        yield* subject.advance(1)
        assert.strictEqual((yield* reasonOf(b.admit("a")))._tag, "CircuitHalfOpen")
      }
      assert.deepInclude(yield* a.record("a", probe, "Success"), { to: "Closed" })
    })),

  law("a probe that ends as ignored after renewals frees its place", (subject) =>
    Effect.gen(function*() {
      const lease = { probeLeaseMillis: 3 * subject.unitMillis }
      const [a, b] = [yield* processOf(subject, lease), yield* processOf(subject, lease)]
      yield* a.calls("a", "FFF")
      yield* subject.advance(4)
      const probe = yield* a.hold("a")
      for (let n = 0; n < 5; n++) yield* subject.advance(1)
      yield* a.record("a", probe, "Ignored")
      assert.isTrue((yield* b.hold("a")).probe)
    })),

  law(
    "where a process dies the lease lapses, another takes over, and the old outcome changes nothing",
    (subject) =>
      Effect.gen(function*() {
        const lease = { probeLeaseMillis: 2 * subject.unitMillis }
        const [a, b] = [yield* processOf(subject, lease), yield* processOf(subject, lease)]
        yield* a.calls("a", "FFF")
        yield* subject.advance(4)
        const dead = yield* a.hold("a")
        yield* dead.end
        assert.strictEqual((yield* reasonOf(b.admit("a")))._tag, "CircuitHalfOpen")
        yield* subject.advance(3)
        const taken = yield* b.hold("a")
        assert.deepStrictEqual([taken.probe, taken.transition], [true, undefined])
        assert.strictEqual(yield* a.record("a", dead, "Success"), undefined)
        assert.strictEqual(yield* b.tag("a"), "HalfOpen")
        assert.deepInclude(yield* b.record("a", taken, "Failure"), { from: "HalfOpen", to: "Open" })
      })
  )
]

/** What only our store promises. */
export const ownLaws: ReadonlyArray<Law<Subject>> = [
  law(
    "a probe that hangs loses its place after maxLease, and decides nothing when it ends",
    (subject) =>
      Effect.gen(function*() {
        const { unitMillis } = subject
        const lease = { probeLeaseMillis: 3 * unitMillis, maxLeaseMillis: 6 * unitMillis }
        const [a, b] = [yield* processOf(subject, lease), yield* processOf(subject, lease)]
        yield* a.calls("a", "FFF")
        yield* subject.advance(4)
        const hung = yield* a.hold("a")
        for (let n = 0; n < 4; n++) yield* subject.advance(1)
        assert.strictEqual((yield* reasonOf(b.admit("a")))._tag, "CircuitHalfOpen")
        for (let n = 0; n < 4; n++) yield* subject.advance(1)
        yield* b.hold("a")
        assert.strictEqual(yield* a.record("a", hung, "Failure"), undefined)
        assert.strictEqual(yield* b.tag("a"), "HalfOpen")
      })
  )
]
