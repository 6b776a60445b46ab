/** Where our breaker as Effect's, and our store for Effect's, are more or less than Effect's own. */
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Data,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  References,
  Schema,
  Scope,
  Stream
} from "effect"
import { CircuitBreaker } from "effect/persistence"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Storage, Trip } from "../../src/index.ts"
import * as Compare from "../../src/interop/Compare.ts"
import * as EffectCircuitBreaker from "../../src/interop/EffectCircuitBreaker.ts"
import { type Storage as StorageService, StorageError } from "../../src/Storage/Storage.ts"
import { failing, hanging, Link, memory, processes } from "../support/storages.ts"
import { makeKeyed, untilQuiet } from "../utils.ts"
import { fail } from "./laws/breaker.ts"
import { reasonOf } from "./laws/law.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const
const operator = { actor: "ann", reason: "maintenance" } as const

const listen = (
  breaker: CircuitBreaker.CircuitBreaker
): Effect.Effect<Effect.Effect<Array<string>>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const seen: Array<string> = []
    yield* Effect.forkScoped(
      Stream.runForEach(
        breaker.transitions,
        ({ from, key, to }) => Effect.sync(() => seen.push(`${key} ${from} ${to}`))
      ),
      { startImmediately: true }
    )
    return Effect.andThen(untilQuiet, Effect.sync(() => seen.splice(0)))
  })

describe("our breaker as Effect's", () => {
  it.effect("an override without an end rejects as open, and nobody knows for how long", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("forced", one)
      const breaker = EffectCircuitBreaker.make(keyed)
      yield* keyed.get("a", { create: true }).override({ mode: "ForcedOpen", ...operator })
      const reason = yield* reasonOf(breaker.execute(Effect.void, { key: "a" }))
      assert.deepStrictEqual(reason._tag === "CircuitOpen" && reason.retryAfter, Duration.zero)
      assert.deepStrictEqual(yield* breaker.state("a"), {
        _tag: "Open",
        key: "a",
        retryAfter: Duration.zero,
        consecutiveOpenings: 0
      })
      yield* keyed.get("b", { create: true }).override({ mode: "ForcedOpen", ...operator, expiresIn: "1 minute" })
      assert.deepInclude(yield* breaker.state("b"), { _tag: "Open", retryAfter: Duration.minutes(1) })
    }))

  for (const mode of ["Disabled", "MetricsOnly"] as const) {
    it.effect(`under ${mode} an open circuit runs calls, and reads as closed`, () =>
      Effect.gen(function*() {
        const keyed = yield* makeKeyed("permissive", one)
        const breaker = EffectCircuitBreaker.make(keyed)
        yield* fail(breaker)
        yield* keyed.get("a").override({ mode, ...operator })
        assert.strictEqual(yield* breaker.execute(Effect.succeed(1), { key: "a" }), 1)
        assert.deepStrictEqual(yield* breaker.state("a"), { _tag: "Closed", key: "a" })
      }))
  }

  it.effect("overrides and acts are shown by transitions that Effect's breaker has", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("acts", one)
      const breaker = EffectCircuitBreaker.make(keyed)
      const seen = yield* listen(breaker)
      const operators = keyed.get("a", { create: true })
      const after = (act: Effect.Effect<unknown, unknown>) => Effect.andThen(act, seen)
      assert.deepStrictEqual(yield* after(operators.override({ mode: "ForcedOpen", ...operator })), ["a Closed Open"])
      assert.deepStrictEqual(yield* after(operators.override({ mode: "Disabled", ...operator })), [
        "a Open HalfOpen",
        "a HalfOpen Closed"
      ])
      assert.deepStrictEqual(yield* after(operators.clearOverride({ actor: "ann" })), [])
      assert.deepStrictEqual(yield* after(fail(breaker)), ["a Closed Open"])
      assert.deepStrictEqual(yield* after(operators.override({ mode: "ForcedOpen", ...operator })), [])
      assert.deepStrictEqual(yield* after(operators.clearOverride({ actor: "ann" })), [])
      assert.deepStrictEqual(yield* after(operators.reset), ["a Open HalfOpen", "a HalfOpen Closed"])
      assert.deepStrictEqual(yield* after(operators.forceHalfOpen), ["a Closed Open", "a Open HalfOpen"])
      assert.deepStrictEqual(yield* after(breaker.execute(Effect.void, { key: "a" })), ["a HalfOpen Closed"])
    }))

  it.effect("an override that ends by itself is shown with the next call", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("expires", one)
      const breaker = EffectCircuitBreaker.make(keyed)
      const seen = yield* listen(breaker)
      yield* keyed.get("a", { create: true }).override({ mode: "ForcedOpen", ...operator, expiresIn: "1 minute" })
      yield* TestClock.adjust("1 minute")
      yield* breaker.execute(Effect.void, { key: "a" })
      assert.deepStrictEqual(yield* seen, ["a Closed Open", "a Open HalfOpen", "a HalfOpen Closed"])
    }))

  it.effect("another process's opening is shown, and rejects here", () =>
    Effect.gen(function*() {
      const [here, there] = yield* processes(2)
      const policy = { ...one, evidence: "any" } as const
      const made = ({ layer }: Link) =>
        Effect.map(Effect.provide(Breaker.makeKeyed("fleet", policy), layer), EffectCircuitBreaker.make)
      const [a, b] = [yield* made(here!), yield* made(there!)]
      yield* b.execute(Effect.void, { key: "a" })
      const seen = yield* listen(b)
      yield* fail(a)
      yield* untilQuiet
      assert.strictEqual((yield* reasonOf(b.execute(Effect.void, { key: "a" })))._tag, "CircuitOpen")
      assert.deepStrictEqual(yield* seen, ["a Closed Open"])
      assert.deepInclude(yield* b.state("a"), { _tag: "Open", consecutiveOpenings: 1 })
    }))

  it.effect("transitions end with the layer", () =>
    Effect.gen(function*() {
      class Origins extends Breaker.KeyedService<Origins>()("origins", one) {}
      const scope = yield* Scope.make()
      const live = EffectCircuitBreaker.layer(Origins).pipe(
        Layer.provide(Origins.layer),
        Layer.provide(Storage.MemoryStorageLive)
      )
      const breaker = Context.get(yield* Layer.buildWithScope(live, scope), CircuitBreaker.CircuitBreaker)
      const ended = yield* Effect.forkScoped(Stream.runDrain(breaker.transitions), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      yield* untilQuiet
      assert.isDefined(ended.pollUnsafe())
    }))

  it.effect("a storage that is asked and does not answer is a CircuitBreakerStoreError, which shows no secret", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const keyed = yield* Breaker.makeKeyed("strict", { ...one, consistency: "strict", onStorageError: "fail" }).pipe(
        Effect.provide(link.layer)
      )
      const breaker = EffectCircuitBreaker.make(keyed)
      const cause = new Error("no answer from redis://ann:secret@host")
      link.fault(() => Effect.fail(new StorageError({ operation: "sync", reason: "Unavailable", cause })))
      const error = yield* Effect.flip(breaker.execute(Effect.die("it ran"), { key: "a" }))
      assert.instanceOf(error, CircuitBreaker.CircuitBreakerError)
      assert.strictEqual(error.reason._tag, "CircuitBreakerStoreError")
      assert.strictEqual(error.message, "Storage unavailable on sync")
      assert.notInclude(JSON.stringify(Schema.encodeSync(CircuitBreaker.CircuitBreakerError)(error)), "secret")
      assert.notInclude(JSON.stringify(error), "secret")
    }))

  it.effect("errors of a breaker inside of the call stay the call's own", () =>
    Effect.gen(function*() {
      const inner = yield* makeKeyed("inner", one)
      const breaker = EffectCircuitBreaker.make(yield* makeKeyed("outer", one))
      yield* Effect.exit(inner.wrap(Effect.fail("x"), { key: "a" }))
      const nested = breaker.execute(inner.wrap(Effect.void, { key: "a" }), { key: "a" })
      assert.instanceOf(yield* Effect.flip(nested), Breaker.BreakerOpenError)
      assert.strictEqual((yield* breaker.state("a"))._tag, "Closed")
    }))

  it.effect("without classify the policy's decides, and errors that carry an outcome", () =>
    Effect.gen(function*() {
      class NotFound extends Data.TaggedError("NotFound") {
        readonly [Outcome.outcome] = Outcome.ignored
      }
      const breaker = EffectCircuitBreaker.make(yield* makeKeyed("carries", one))
      yield* Effect.exit(breaker.execute(Effect.fail(new NotFound()), { key: "a" }))
      assert.strictEqual((yield* breaker.state("a"))._tag, "Closed")
      const lenient = EffectCircuitBreaker.make(
        yield* makeKeyed("lenient", { ...one, classify: () => Outcome.ignored })
      )
      yield* fail(lenient)
      assert.strictEqual((yield* lenient.state("a"))._tag, "Closed")
    }))

  it.effect("state is what this process knows", () =>
    Effect.gen(function*() {
      const [here, there] = yield* processes(2)
      const made = ({ layer }: Link) =>
        Effect.map(
          Effect.provide(Breaker.makeKeyed("knows", { ...one, evidence: "any" }), layer),
          EffectCircuitBreaker.make
        )
      const [a, b] = [yield* made(here!), yield* made(there!)]
      yield* fail(a)
      yield* untilQuiet
      assert.deepStrictEqual(yield* b.state("a"), { _tag: "Closed", key: "a" })
      assert.strictEqual((yield* reasonOf(b.execute(Effect.void, { key: "a" })))._tag, "CircuitOpen")
      assert.deepInclude(yield* b.state("a"), { _tag: "Open", consecutiveOpenings: 1 })
    }))

  it.effect("a key that is not well-formed is one with U+FFFD", () =>
    Effect.gen(function*() {
      const breaker = EffectCircuitBreaker.make(yield* makeKeyed("ill-formed", one))
      yield* fail(breaker, "a\ud800")
      assert.strictEqual((yield* breaker.state("a\ufffd"))._tag, "Open")
    }))

  it.effect("keys of nothing but ~ are kept apart", () =>
    Effect.gen(function*() {
      const breaker = EffectCircuitBreaker.make(yield* makeKeyed("keys", one))
      const keys = ["", "~", "~~", "~a"]
      const seen = yield* listen(breaker)
      for (const [index, key] of keys.entries()) {
        yield* fail(breaker, key)
        const tags = yield* Effect.forEach(keys, (key) => Effect.map(breaker.state(key), ({ _tag }) => _tag))
        assert.deepStrictEqual(tags, keys.map((_, other) => other <= index ? "Open" : "Closed"))
      }
      assert.deepStrictEqual(yield* seen, keys.map((key) => `${key} Closed Open`))
    }))
})

describe("Effect's breaker as a guard", () => {
  const theirs = CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1), openDuration: "10 seconds" }).pipe(
    Effect.provide(CircuitBreaker.layerStoreMemory())
  )
  const guarded = Effect.map(theirs, (breaker) => ({
    guard: EffectCircuitBreaker.guard(breaker, { key: "a" }),
    state: Effect.map(breaker.state("a"), ({ _tag }) => _tag)
  }))

  it.effect("runs calls, and rejects with Effect's error", () =>
    Effect.gen(function*() {
      const { guard, state } = yield* guarded
      assert.strictEqual(guard.circuit, "a")
      assert.strictEqual(yield* guard.wrapWith(Effect.succeed(1), {}), 1)
      yield* Effect.exit(guard.wrapWith(Effect.fail("mine"), { classify: () => Outcome.ignored }))
      yield* Effect.exit(guard.wrapWith(Effect.fail("mine"), { classify: () => Effect.succeed(Outcome.ignored) }))
      assert.strictEqual(yield* state, "Closed")
      const hinted = guard.wrapWith(Effect.void, { classify: () => Outcome.failure({ retryAfter: "1 minute" }) })
      yield* hinted
      const reason = yield* reasonOf(guard.wrapWith(Effect.void, {}))
      assert.deepStrictEqual(reason._tag === "CircuitOpen" && reason.retryAfter, Duration.minutes(1))
    }))

  it.effect("an error that carries an outcome has it, as with ours", () =>
    Effect.gen(function*() {
      class NotFound extends Data.TaggedError("NotFound") {
        readonly [Outcome.outcome] = Outcome.ignored
      }
      const { guard, state } = yield* guarded
      yield* Effect.exit(guard.wrapWith(Effect.fail(new NotFound()), {}))
      assert.strictEqual(yield* state, "Closed")
    }))

  it.effect("a permit settles once, and is recorded by then", () =>
    Effect.gen(function*() {
      const { guard, state } = yield* guarded
      const permit = yield* guard.permit
      assert.strictEqual(yield* state, "Closed")
      assert.isTrue(yield* permit.settle(Outcome.failure()))
      assert.strictEqual(yield* state, "Open")
      assert.isFalse(yield* permit.settleExit(Exit.void))
      assert.strictEqual((yield* reasonOf(guard.permit))._tag, "CircuitOpen")
    }))

  it.effect("a permit that is not settled is given back as ignored", () =>
    Effect.gen(function*() {
      const { guard, state } = yield* guarded
      yield* Effect.flatMap(guard.permit, (permit) => permit.settleExit(Exit.fail("mine"))).pipe(Effect.scoped)
      yield* TestClock.adjust("10 seconds")
      yield* Effect.scoped(guard.permit)
      assert.strictEqual(yield* state, "HalfOpen")
      yield* Effect.scoped(Effect.flatMap(guard.permit, (permit) => permit.settle(Outcome.success)))
      assert.strictEqual(yield* state, "Closed")
    }))

  it.effect("it is compared with one of ours", () =>
    Effect.gen(function*() {
      const { guard } = yield* guarded
      const ours = yield* Breaker.make("compared", { trip: Trip.consecutiveFailures(2) }).pipe(
        Effect.provide(Storage.MemoryStorageLive)
      )
      const seen: Array<ReadonlyArray<string>> = []
      const onMismatch = (mismatch: Compare.Mismatch) => Effect.sync(() => seen.push([mismatch.old, mismatch.new]))
      const both = Compare.compare({ old: guard, new: ours }, { decides: "new", onMismatch })
      yield* Effect.exit(both.wrapWith(Effect.fail("x"), {}))
      yield* untilQuiet
      assert.strictEqual(yield* both.wrapWith(Effect.succeed(1), {}), 1)
      yield* untilQuiet
      assert.deepStrictEqual(seen, [["rejected", "run"]])
    }))
})

describe("our storage as the store of Effect's breakers", () => {
  const processOn = (storage: StorageService, options: EffectCircuitBreaker.StoreOptions = {}) =>
    EffectCircuitBreaker.layerStore(options).pipe(
      Layer.provide(Layer.succeed(Storage.Storage, storage)),
      Layer.build,
      Effect.map(Context.get(CircuitBreaker.CircuitBreakerStore))
    )

  const breakerOn = (
    storage: StorageService,
    options: Partial<Parameters<typeof CircuitBreaker.make>[0]> = {}
  ) =>
    Effect.flatMap(
      processOn(storage),
      (store) =>
        CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1), openDuration: "10 seconds", ...options }).pipe(
          Effect.provideService(CircuitBreaker.CircuitBreakerStore, store)
        )
    )

  const override = (storage: StorageService, kind: "ForcedOpen" | "Disabled" | "MetricsOnly") =>
    storage.change("circuitbreaker:a", {
      _tag: "Operation",
      id: kind,
      known: 0,
      why: { reason: "maintenance" },
      to: { _tag: "Override", kind, ...operator }
    })

  it.effect("options out of range are refused with field, value and range", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const refused = (options: EffectCircuitBreaker.StoreOptions) =>
        Effect.map(Effect.exit(processOn(storage, options)), (exit) => {
          assert.isTrue(Exit.isFailure(exit))
          const defect = Cause.squash((exit as Exit.Failure<never, never>).cause)
          assert.instanceOf(defect, RangeError)
          return defect.message
        })
      assert.strictEqual(
        yield* refused({ probeLease: 0, maxLease: Infinity }),
        "EffectCircuitBreaker.layerStore: probeLease must be a finite duration from 1 ms to 31536000000 ms, got 0; " +
          "maxLease must be a finite duration from 1 ms to 31536000000 ms, got Infinity"
      )
      assert.include(yield* refused({ prefix: "a\nb" }), "prefix must be a text of 1 to 200 characters on one line")
    }))

  it.effect("operators' overrides apply", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const breaker = yield* breakerOn(storage)
      yield* override(storage, "ForcedOpen")
      const reason = yield* reasonOf(breaker.execute(Effect.die("it ran"), { key: "a" }))
      assert.deepStrictEqual(reason._tag === "CircuitOpen" && reason.retryAfter, Duration.zero)
      assert.strictEqual((yield* breaker.state("a"))._tag, "Open")
      yield* override(storage, "Disabled")
      yield* fail(breaker, "a", 5)
      yield* override(storage, "MetricsOnly")
      yield* fail(breaker, "a", 5)
      assert.deepStrictEqual(yield* breaker.state("a"), { _tag: "Closed", key: "a" })
      const trips = (yield* storage.history("circuitbreaker:a")).filter(({ why }) => why.reason !== "maintenance")
      assert.deepStrictEqual(
        trips.map(({ from, to, why }) => [from, to, why.reason]),
        Array(5).fill(["Closed", "Closed", "1 consecutive failures"])
      )
    }))

  it.effect("a circuit has a history, and statistics with the next outcome that counts", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const breaker = yield* breakerOn(storage)
      yield* breaker.execute(Effect.void, { key: "a" })
      yield* fail(breaker)
      yield* Effect.exit(breaker.execute(Effect.void, { key: "a" }))
      yield* TestClock.adjust("10 seconds")
      yield* Effect.exit(breaker.execute(Effect.interrupt, { key: "a" }))
      yield* breaker.execute(Effect.void, { key: "a" })
      yield* breaker.execute(Effect.void, { key: "a" })
      assert.deepStrictEqual(
        (yield* storage.history("circuitbreaker:a")).map(({ to, why }) => [to, why.reason]),
        [["Closed", "a probe succeeded"], ["HalfOpen", "the open time is over"], ["Open", "1 consecutive failures"]]
      )
      const [synced] = yield* storage.sync([{
        circuit: "circuitbreaker:a",
        instance: "reader",
        sequence: 1,
        generation: 0,
        delta: {
          buckets: [],
          streak: { leading: 0, sawSuccess: false, trailing: 0 },
          lifetime: { success: 0, failure: 0, ignored: 0, timeout: 0, slow: 0, rejected: 0 },
          hint: 0
        },
        withins: []
      }])
      const lifetime = synced!.result._tag === "Success" ? synced!.result.success.snapshot.lifetime : undefined
      assert.deepInclude(lifetime, { success: 3, failure: 1, ignored: 1, rejected: 1, opened: 1 })
    }))

  it.effect("a store that does not answer within a second runs the call unrecorded, or fails it", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const allowing = yield* breakerOn(link.storage)
      const failingOnes = yield* breakerOn(link.storage, { onStoreError: "fail" })
      link.fault(hanging)
      const both = yield* Effect.forkScoped(
        Effect.all([
          allowing.execute(Effect.succeed("ran"), { key: "a" }),
          Effect.map(
            reasonOf(failingOnes.execute(Effect.die("it ran"), { key: "a" })),
            ({ _tag, message }) => [_tag, message]
          )
        ], { concurrency: 2 }),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      yield* untilQuiet
      const exit = both.pollUnsafe()
      assert.deepStrictEqual(exit, Exit.succeed(["ran", ["CircuitBreakerStoreError", "Storage deadline on sync"]]))
    }))

  it.effect("what a store fails with is logged once, with its cause", () =>
    Effect.gen(function*() {
      const lines: Array<unknown> = []
      const logger = Logger.make(({ fiber, message }) => {
        lines.push([message, fiber.getRef(References.CurrentLogAnnotations)["circuit"]])
      })
      const link = new Link(yield* memory)
      const store = yield* processOn(link.storage).pipe(Effect.provide(Logger.layer([logger])))
      link.fault(failing("Unavailable"))
      for (let n = 0; n < 3; n++) yield* reasonOf(Effect.scoped(store.admit("a")))
      link.fault(undefined)
      yield* store.state("a")
      link.fault(failing("Unavailable"))
      yield* reasonOf(store.state("b"))
      const text = "The store of Effect's breakers failed, and is asked again for the next call"
      assert.deepStrictEqual(lines, [[[text], "circuitbreaker:a"], [[text], "circuitbreaker:b"]])
    }))

  it.effect("calls at once share requests", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* breakerOn(link.storage, { tripPolicy: CircuitBreaker.consecutive(1000) })
      link.fault((request) => Effect.delay(request, "1 millis"))
      const calls = Array.from({ length: 100 }, (_, n) =>
        breaker.execute(n % 2 === 0 ? Effect.void : Effect.fail("x"), { key: "a" }))
      const all = yield* Effect.forkScoped(Effect.all(calls.map(Effect.exit), { concurrency: "unbounded" }), {
        startImmediately: true
      })
      yield* TestClock.adjust("20 millis")
      yield* untilQuiet
      assert.isDefined(all.pollUnsafe())
      assert.isAtMost(link.sent.length, 6)
    }))

  it.effect("outcomes of an older generation that share a request do not trip the circuit that has closed since", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const store = yield* processOn(link.storage)
      const record = { key: "a", tripPolicy: CircuitBreaker.consecutive(1), openFor: Duration.seconds(10) }
      const admitted = Effect.scoped(store.admit("a"))
      const { generation } = yield* admitted
      yield* store.record({ ...record, generation, outcome: "Failure" })
      yield* TestClock.adjust("10 seconds")
      yield* Effect.flatMap(
        admitted,
        (probe) => store.record({ ...record, generation: probe.generation, outcome: "Success" })
      )
      link.fault((request) => Effect.delay(request, "1 millis"))
      const late = (["Success", "Success", "Failure"] as const).map((outcome) =>
        store.record({ ...record, generation, outcome })
      )
      const all = yield* Effect.forkScoped(Effect.all(late, { concurrency: "unbounded" }), { startImmediately: true })
      for (let n = 0; n < 5; n++) yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.join(all), [undefined, undefined, undefined])
    }))

  it.effect("a renewal that fails is reported, and tried again", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const store = yield* processOn(link.storage, { probeLease: "9 seconds" })
      const other = yield* processOn(link.storage)
      const record = { key: "a", tripPolicy: CircuitBreaker.consecutive(1), openFor: Duration.seconds(10) }
      const { generation } = yield* Effect.scoped(store.admit("a"))
      yield* store.record({ ...record, generation, outcome: "Failure" })
      yield* TestClock.adjust("10 seconds")
      const lines: Array<unknown> = []
      const logger = Logger.make(({ message }) => {
        lines.push(message)
      })
      const probe = yield* store.admit("a").pipe(
        Effect.provide(Logger.layer([logger])),
        Effect.provideService(References.UnhandledLogLevel, "Error"),
        Effect.provideService(References.MinimumLogLevel, "Error")
      )
      link.fault(failing("Unavailable"), "probe")
      yield* TestClock.adjust("3 seconds")
      link.fault(undefined)
      for (let n = 0; n < 5; n++) yield* TestClock.adjust("3 seconds")
      assert.lengthOf(lines, 1)
      assert.include(String(lines[0]), "was not renewed; trying again")
      assert.strictEqual((yield* reasonOf(other.admit("a")))._tag, "CircuitHalfOpen")
      yield* store.record({ ...record, generation: probe.generation, outcome: "Ignored" })
      assert.isTrue((yield* other.admit("a")).probe)
    }))

  it.effect("a lease that lapsed while the storage was away decides nothing", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const store = yield* processOn(link.storage, { probeLease: "9 seconds" })
      const record = { key: "a", tripPolicy: CircuitBreaker.consecutive(1), openFor: Duration.seconds(10) }
      const { generation } = yield* Effect.scoped(store.admit("a"))
      yield* store.record({ ...record, generation, outcome: "Failure" })
      yield* TestClock.adjust("10 seconds")
      const probe = yield* Effect.provideService(store.admit("a"), References.UnhandledLogLevel, undefined)
      link.fault(failing("Unavailable"), "probe")
      yield* TestClock.adjust("9 seconds")
      link.fault(undefined)
      assert.isUndefined(yield* store.record({ ...record, generation: probe.generation, outcome: "Success" }))
      assert.deepInclude(yield* store.state("a"), { _tag: "HalfOpen", probing: false })
    }))

  it.effect("an open time without end is the longest that there is", () =>
    Effect.gen(function*() {
      const breaker = yield* breakerOn(yield* memory, { openDuration: Duration.infinity })
      yield* fail(breaker)
      const state = yield* breaker.state("a")
      assert.strictEqual(state._tag === "Open" && Duration.toMillis(state.retryAfter), 2 ** 50)
    }))

  it.effect("two services' transitions name what happened once", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const [a, b] = [yield* breakerOn(storage), yield* breakerOn(storage)]
      const [ofA, ofB] = [yield* listen(a), yield* listen(b)]
      yield* fail(a)
      yield* TestClock.adjust("10 seconds")
      yield* b.execute(Effect.void, { key: "a" })
      assert.deepStrictEqual([yield* ofA, yield* ofB], [["a Closed Open"], ["a Open HalfOpen", "a HalfOpen Closed"]])
    }))

  it.effect("a call from before the reset that trips is the first opening, even if no other came between", () =>
    Effect.gen(function*() {
      const opened = (store: CircuitBreaker.CircuitBreakerStore["Service"]) =>
        Effect.gen(function*() {
          const record = { key: "a", tripPolicy: CircuitBreaker.consecutive(1), openFor: Duration.seconds(10) }
          const end = (outcome: "Success" | "Failure") =>
            Effect.scoped(
              Effect.flatMap(store.admit("a"), ({ generation }) => store.record({ ...record, generation, outcome }))
            )
          yield* end("Failure")
          yield* TestClock.adjust("10 seconds")
          yield* end("Success")
          const { generation } = yield* Effect.scoped(store.admit("a"))
          yield* TestClock.adjust("10 seconds")
          const transition = yield* store.record({ ...record, generation, outcome: "Failure" })
          return transition?.to === "Open" && transition.consecutiveOpenings
        })
      const theirs = Context.get(
        yield* Layer.build(CircuitBreaker.layerStoreMemory()),
        CircuitBreaker.CircuitBreakerStore
      )
      assert.deepStrictEqual([yield* opened(theirs), yield* opened(yield* processOn(yield* memory))], [2, 1])
    }))

  it.effect("where the storage has lost its data, the circuit is closed, and outcomes from before change nothing", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const store = yield* processOn(link.storage)
      const record = { key: "a", tripPolicy: CircuitBreaker.consecutive(1), openFor: Duration.seconds(10) }
      const { generation } = yield* Effect.scoped(store.admit("a"))
      yield* store.record({ ...record, generation, outcome: "Failure" })
      yield* TestClock.adjust("10 seconds")
      const probe = yield* store.admit("a")
      yield* store.record({ ...record, generation: probe.generation, outcome: "Success" })
      const late = yield* Effect.scoped(store.admit("a"))
      link.moveTo(yield* memory)
      assert.strictEqual((yield* store.state("a"))._tag, "Closed")
      assert.isUndefined(yield* store.record({ ...record, generation: late.generation, outcome: "Failure" }))
      assert.strictEqual((yield* store.state("a"))._tag, "Closed")
    }))

  it.effect("on a storage that cannot fence nothing opens", () =>
    Effect.gen(function*() {
      const breaker = yield* breakerOn(Context.get(yield* Layer.build(Storage.NullStorageLive), Storage.Storage))
      yield* fail(breaker, "a", 3)
      assert.strictEqual((yield* breaker.state("a"))._tag, "Closed")
      assert.strictEqual(yield* breaker.execute(Effect.succeed(1), { key: "a" }), 1)
    }))
})
