import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { Breaker, Outcome } from "../../src/index.ts"
import { defectOf, withReports } from "../utils.ts"

class Payments extends Breaker.Service<Payments>()("payments", {
  timeout: "3 seconds",
  maxConcurrent: 7,
  openFor: "20 seconds",
  halfOpen: { timeout: "1 second", lease: "9 seconds" },
  consistency: "strict",
  onStorageError: "fail"
}) {}

const never = Effect.die("the call was made")
const call = Payments.wrap(never)
const statistics = Effect.flatMap(Payments, ({ snapshot }) => Effect.map(snapshot, ({ statistics }) => statistics))

describe("the states of layerTest", () => {
  it.effect("a half-open circuit of layerTest makes every call as a probe, and stays half-open", () =>
    Effect.gen(function*() {
      const payments = yield* Payments
      for (let i = 0; i < 3; i++) assert.strictEqual(yield* Payments.wrap(Effect.succeed(i)), i)
      yield* Effect.scoped(Effect.gen(function*() {
        const permit = yield* Payments.permit
        assert.isTrue(permit.probe)
        assert.strictEqual(Duration.toSeconds(permit.remaining!), 9)
        assert.strictEqual((yield* payments.snapshot).concurrent, 1)
      }))
      assert.deepInclude(yield* payments.snapshot, { state: "HalfOpen", isolated: true, concurrent: 0 })
      assert.deepInclude(yield* statistics, { success: 3, ignored: 1, consecutiveSuccesses: 3 })
    }).pipe(Effect.provide(Payments.layerTest({ state: "HalfOpen" }))))

  const cases = [
    [{ state: "Open" }, "Open", { _tag: "BreakerOpenError", state: "Open" }, { rejected: 1 }],
    [{ fails: "BreakerOpenError" }, "Open", { _tag: "BreakerOpenError", state: "Open" }, { rejected: 1 }],
    [{ state: "HalfOpen", fails: "BreakerOpenError" }, "HalfOpen", { state: "HalfOpen" }, { rejected: 1 }],
    [{ fails: "BulkheadFullError" }, "Closed", { _tag: "BulkheadFullError", maxConcurrent: 7 }, { rejected: 1 }],
    [{ fails: "StorageError" }, "Closed", { _tag: "StorageError", reason: "Unavailable" }, { rejected: 0, failure: 0 }],
    [{ fails: "BreakerTimeoutError" }, "Closed", { _tag: "BreakerTimeoutError" }, {
      timeout: 1,
      failure: 1,
      consecutiveFailures: 1,
      rejected: 0
    }]
  ] as const
  for (const [state, is, error, counts] of cases) {
    it.effect(`layerTest(${JSON.stringify(state)}) fails every call without making it, and counts it`, () =>
      Effect.gen(function*() {
        assert.deepInclude(yield* Effect.flip(call), error)
        assert.strictEqual(yield* (yield* Payments).state, is)
        assert.deepInclude(yield* statistics, counts)
        const streamed = yield* Effect.flip(Stream.runDrain(Payments.wrapStream(Stream.fromEffect(never))))
        assert.deepInclude(streamed, error)
        assert.deepInclude(yield* Effect.flip(Payments.wrapWith(never, { classify: () => Outcome.success })), error)
      }).pipe(Effect.provide(Payments.layerTest(state))))
  }

  it.effect("the timeout of layerTest is the policy's, and a probe's in state HalfOpen", () =>
    Effect.gen(function*() {
      const limit = (state: Breaker.TestState<Breaker.BreakerTimeoutError>) =>
        Effect.flip(call).pipe(
          Effect.map((error) => error._tag === "BreakerTimeoutError" ? Duration.toSeconds(error.timeout) : error._tag),
          Effect.provide(Payments.layerTest(state))
        )
      assert.strictEqual(yield* limit({ fails: "BreakerTimeoutError" }), 3)
      assert.strictEqual(yield* limit({ state: "HalfOpen", fails: "BreakerTimeoutError" }), 1)
    }))

  it.effect("a chosen error is the one that calls fail with", () => {
    const chosen = new Breaker.BreakerOpenError({ circuit: "payments", state: "ForcedOpen", openedBy: "override" })
    return Effect.gen(function*() {
      assert.strictEqual(yield* Effect.flip(call), chosen)
      assert.strictEqual(yield* Effect.flip(Effect.scoped(Payments.permit)), chosen)
      assert.strictEqual(yield* (yield* Payments).state, "Open")
      assert.deepInclude(yield* statistics, { rejected: 2 })
    }).pipe(Effect.provide(Payments.layerTest({ fails: chosen })))
  })

  it.effect("a permit is refused where the circuit is full, and given where calls time out, which is the holder's to know", () =>
    Effect.gen(function*() {
      const permit = Effect.exit(Effect.scoped(Payments.permit))
      const full = yield* Effect.provide(permit, Payments.layerTest({ fails: "BulkheadFullError" }))
      assert.strictEqual(
        Exit.isFailure(full) && (Cause.squash(full.cause) as Breaker.BreakerError)._tag,
        "BulkheadFullError"
      )
      assert.isTrue(Exit.isSuccess(yield* Effect.provide(permit, Payments.layerTest({ fails: "BreakerTimeoutError" }))))
    }))

  it.effect("who waits for a permit waits for ever, but not where the storage fails the call", () =>
    Effect.gen(function*() {
      const waiting = Effect.forkChild(Effect.exit(Effect.scoped(Payments.awaitPermit)), { startImmediately: true })
      for (const fails of ["BreakerOpenError", "BulkheadFullError"] as const) {
        const fiber = yield* Effect.provide(waiting, Payments.layerTest({ fails }))
        assert.isUndefined(fiber.pollUnsafe())
        yield* Fiber.interrupt(fiber)
      }
      const failed = yield* Effect.provide(waiting, Payments.layerTest({ fails: "StorageError" }))
      assert.isTrue(Exit.isFailure(yield* Fiber.join(failed)))
    }))

  const bad: ReadonlyArray<readonly [state: object, message: RegExp]> = [
    [{ state: "Ajar" }, /layerTest of circuit "payments": state must be one of Closed, Open, HalfOpen, got "Ajar"/],
    [{ fails: "Boom" }, /fails in state Closed must be one of BreakerTimeoutError, .*, got "Boom"/],
    [{ state: "Open", fails: "BulkheadFullError" }, /fails in state Open must be one of BreakerOpenError, got "Bulk/],
    [{ state: "Closed", fails: "BreakerOpenError" }, /fails in state Closed must be one of BreakerTimeoutError, Bulk/]
  ]
  for (const [state, message] of bad) {
    it.effect(`layerTest(${JSON.stringify(state)}) is refused, with field, value and range`, () =>
      Effect.gen(function*() {
        assert.match(defectOf(yield* Effect.exit(Layer.build(Payments.layerTest(state)))), message)
      }).pipe(Effect.scoped))
  }
})

describe("the counts of layerTest", () => {
  it.effect("layerTest counts calls by how they end", () =>
    Effect.gen(function*() {
      const own = { [Outcome.outcome]: Outcome.ignored }
      const calls: ReadonlyArray<Effect.Effect<void, unknown>> = [
        Effect.void,
        Effect.fail("a"),
        Effect.fail(own),
        Effect.die("b"),
        Effect.interrupt,
        Effect.fail("c")
      ]
      for (const each of calls) yield* Effect.exit(Payments.wrap(each))
      assert.deepInclude(yield* statistics, { success: 1, failure: 3, ignored: 2, consecutiveFailures: 3 })
      yield* Payments.wrap(Effect.void)
      assert.deepInclude(yield* statistics, { success: 2, consecutiveFailures: 0, consecutiveSuccesses: 1 })
    }).pipe(Effect.provide(Payments.layerTest())))

  it.effect("layerTest counts a call while it runs, and one that is interrupted as ignored", () =>
    Effect.gen(function*() {
      const { snapshot } = yield* Payments
      const running = yield* Effect.forkChild(Payments.wrap(Effect.never), { startImmediately: true })
      assert.strictEqual((yield* snapshot).concurrent, 1)
      yield* Fiber.interrupt(running)
      const { concurrent, statistics } = yield* snapshot
      assert.deepStrictEqual([concurrent, statistics.ignored], [0, 1])
    }).pipe(Effect.provide(Payments.layerTest())))

  it.effect("layerTest counts permits once, streams by their end, and nothing of a bypassed call", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(Effect.gen(function*() {
        const permit = yield* Payments.permit
        assert.isTrue(yield* permit.settleExit(Exit.fail("no")))
        assert.isFalse(yield* permit.settle(Outcome.success))
      }))
      yield* Stream.runDrain(Payments.wrapStream(Stream.make(1, 2)))
      yield* Effect.exit(Stream.runDrain(Payments.wrapStream(Stream.concat(Stream.make(1), Stream.fail("cut")))))
      yield* Stream.runDrain(Stream.take(Payments.wrapStream(Stream.make(1, 2)), 1))
      yield* Breaker.bypass(Payments.wrap(Effect.void))
      assert.isFalse(
        yield* Breaker.bypass(Effect.scoped(Effect.flatMap(Payments.permit, (p) => p.settle(Outcome.success))))
      )
      assert.deepInclude(yield* statistics, { success: 1, failure: 2, ignored: 1 })
    }).pipe(Effect.provide(Payments.layerTest())))

  it.effect("a bypassed call is made though layerTest is open, and so is one under metricsOnly, which is counted", () =>
    Effect.gen(function*() {
      const made = Payments.wrap(Effect.succeed("made"))
      assert.strictEqual(yield* Breaker.bypass(made), "made")
      assert.strictEqual(yield* Effect.provideService(made, Breaker.Enforcement, "metricsOnly"), "made")
      assert.deepInclude(yield* statistics, { success: 1, rejected: 0 })
    }).pipe(Effect.provide(Payments.layerTest({ state: "Open" }))))

  class Limit extends Context.Service<Limit, number>()("Limit") {}
  class Judged extends Breaker.Service<Judged>()("judged", {
    classify: (exit) =>
      Effect.map(Limit, (limit) => Exit.isSuccess(exit) && exit.value === limit ? Outcome.failure() : Outcome.success)
  }) {}
  const judged = Effect.gen(function*() {
    yield* Judged.wrap(Effect.succeed(1))
    yield* Judged.wrap(Effect.succeed(2))
    yield* Judged.wrapWith(Effect.succeed(2), { classify: () => Outcome.ignored })
    return (yield* (yield* Judged).snapshot).statistics
  })

  it.effect("layerTest asks classify, with the services that it was given", () =>
    Effect.gen(function*() {
      const limited = Layer.provide(Judged.layerTest(), Layer.succeed(Limit, 2))
      assert.deepInclude(yield* Effect.provide(judged, limited), { success: 1, failure: 1, ignored: 1 })
    }))

  it.effect("without the services of classify, layerTest counts calls as ignored and reports it", () =>
    withReports((reports) =>
      Effect.gen(function*() {
        const counts = yield* Effect.provide(judged, Judged.layerTest())
        assert.deepInclude(counts, { success: 0, failure: 0, ignored: 3 })
        assert.isAbove(reports.length, 0)
      })
    ))
})

describe("layerTest of a keyed service, by keys", () => {
  class Hosts extends Breaker.KeyedService<Hosts>()("hosts-by-key", { timeout: "2 seconds", capacity: 9 }) {}
  const failure = (key: string) => Effect.flip(Hosts.wrap(never, { key }))

  it.effect("each key has its state, and the others are as open says", () =>
    Effect.gen(function*() {
      const hosts = yield* Hosts
      assert.strictEqual((yield* failure("slow"))._tag, "BreakerTimeoutError")
      assert.deepInclude(yield* failure("probed"), { _tag: "BreakerOpenError", state: "HalfOpen" })
      assert.deepInclude(yield* failure("other"), { state: "Open", circuit: "hosts-by-key/other" })
      assert.strictEqual(yield* Hosts.wrap(Effect.succeed("made"), { key: "up" }), "made")
      yield* Effect.exit(Hosts.wrap(Effect.fail("no"), { key: "up", classify: () => Outcome.ignored }))
      const counted = (yield* Hosts.entries).map((
        { key, snapshot: { statistics: it } }
      ) => [key, it.success, it.failure, it.ignored, it.rejected])
      assert.deepStrictEqual(counted, [
        ["slow", 0, 1, 0, 0],
        ["probed", 0, 0, 0, 1],
        ["other", 0, 0, 0, 1],
        ["up", 1, 0, 1, 0]
      ])
      assert.strictEqual(yield* hosts.get("up").state, "Closed")
    }).pipe(Effect.provide(Hosts.layerTest({
      open: "all",
      keys: {
        slow: { fails: "BreakerTimeoutError" },
        probed: { state: "HalfOpen", fails: "BreakerOpenError" },
        up: {}
      }
    }))))

  it.effect("a state that makes no sense is refused when the layer is built, with the key's circuit", () =>
    Effect.gen(function*() {
      const layer = Hosts.layerTest({ keys: { a: { state: "Ajar" as "Open" } } })
      assert.match(defectOf(yield* Effect.exit(Layer.build(layer))), /circuit "hosts-by-key\/a": state must be one of/)
    }).pipe(Effect.scoped))
})
