import { assert, describe, it } from "@effect/vitest"
import {
  Clock,
  Duration,
  Effect,
  Exit,
  Fiber,
  Latch,
  Layer,
  Logger,
  Metric,
  References,
  Result,
  Scope,
  Stream
} from "effect"
import { PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"
import { noDelta } from "../../src/core/Delta.ts"
import { Storage } from "../../src/index.ts"
import * as Sqlite from "../../src/layers/Sqlite.ts"
import { type Document, fromDocument } from "../../src/Storage/Document.ts"
import * as Health from "../../src/Storage/Health.ts"
import * as Sql from "../../src/Storage/Sql.ts"
import type { CircuitReport } from "../../src/Storage/Storage.ts"
import { failing, failingAsForeign, type Fault, hanging, Link, memory, slow } from "../support/storages.ts"
import { untilQuiet } from "../utils.ts"

const linked = Effect.map(memory, (storage) => new Link(storage))

const faulty = (fault: Fault) =>
  Effect.map(linked, (link) => {
    link.fault(fault)
    return link
  })

/** The reason and the cause of the error of an unhealthy storage. */
const troubleOf = (storage: Storage.Storage) =>
  Effect.map(Health.check(storage), ({ error, healthy, verified }) => {
    assert.deepStrictEqual([healthy, verified], [false, false])
    return [error?.reason, error?.cause]
  })

const counts = ({ delta }: CircuitReport) => delta.lifetime.ignored > 0

/** A monitor of this storage in its own scope. */
const monitor = (link: Link, options?: Health.Options) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    const monitor = yield* Health.make(options).pipe(Effect.provide(link.layer), Scope.provide(scope))
    return { ...monitor, close: Effect.suspend(() => Scope.close(scope, Exit.void)) }
  })

/** A storage whose documents the test can read. */
const open = () => {
  const documents = new Map<string, Document>()
  const storage = fromDocument({
    backend: "open",
    capabilities: { shared: false, durable: false, pushes: false, history: true, fences: true },
    idleTimeToLive: "1 minute",
    names: Stream.suspend(() => Stream.fromIterable([...documents.keys()])),
    modify: (circuit, f) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const [result, document] = f(documents.get(circuit), now)
        if (document !== undefined) documents.set(circuit, document)
        return result
      })
  })
  return { documents, storage }
}

describe("a health probe", () => {
  it.effect("a probe of a memory storage is healthy, with its end time and its latency", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Health.check(yield* memory), {
        backend: "memory",
        healthy: true,
        verified: true,
        latency: Duration.zero,
        at: 5000
      })
    }))

  it.effect("a probe has the duration of its three requests as latency", () =>
    Effect.gen(function*() {
      const { storage } = yield* faulty(slow(20))
      const probe = yield* Effect.forkChild(Health.check(storage), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(Duration.toMillis((yield* Fiber.join(probe)).latency), 60)
    }))

  it.effect("a probe of a null storage writes nothing and is healthy but not verified", () =>
    Effect.gen(function*() {
      const link = new Link(yield* Storage.Storage)
      const { healthy, verified } = yield* Health.check(link.storage)
      assert.deepStrictEqual([healthy, verified, link.reports.filter(counts)], [true, false, []])
    }).pipe(Effect.provide(Storage.NullStorageLive)))

  it.effect("a probe of a storage that fails has the error of the storage", () =>
    Effect.gen(function*() {
      for (const reason of ["Unavailable", "Denied", "Invalid", "Deadline"] as const) {
        assert.deepStrictEqual(yield* troubleOf((yield* faulty(failing(reason))).storage), [reason, reason])
      }
    }))

  it.effect("a probe of a storage that hangs ends at its deadline and interrupts the request", () =>
    Effect.gen(function*() {
      let interrupted = 0
      const { storage } = yield* faulty(() => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++)))
      const probe = yield* Effect.forkChild(Health.check(storage, { deadline: "300 millis" }), {
        startImmediately: true
      })
      yield* TestClock.adjust("299 millis")
      assert.deepStrictEqual([probe.pollUnsafe(), interrupted], [undefined, 0])
      yield* TestClock.adjust("1 millis")
      const { error, latency } = yield* Fiber.join(probe)
      assert.deepStrictEqual([error?.reason, error?.cause], ["Deadline", "no answer within 300 ms"])
      assert.deepStrictEqual([Duration.toMillis(latency), interrupted], [300, 1])
    }))

  it.effect("a probe does not wait for a request that ignores its interruption, and sends no other while that runs", () =>
    Effect.gen(function*() {
      const latch = yield* Latch.make()
      const link = yield* faulty((request) => Effect.uninterruptible(Effect.andThen(latch.await, request)))
      const probe = yield* Effect.forkChild(Health.check(link.storage), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(probe)).error?.reason, "Deadline")
      const { length } = link.sent
      assert.strictEqual((yield* troubleOf(link.storage))[0], "Deadline")
      assert.strictEqual(link.sent.length, length)
      yield* latch.open
      yield* untilQuiet
      assert.isTrue((yield* Health.check(link.storage)).healthy)
    }))

  it.effect("a probe detects a storage that answers and does not keep the record, also after healthy probes", () =>
    Effect.gen(function*() {
      for (const probes of [0, 1, 2, 7]) {
        const [kept, elsewhere] = yield* Effect.all([memory, memory])
        const ways: Array<Storage.Storage["sync"]> = [
          // Answered as though it was kept, or for what was there before.
          (reports) => (reports.some(counts) ? elsewhere : kept).sync(reports),
          (reports) => kept.sync(reports.map((report) => ({ ...report, delta: noDelta })))
        ]
        let { sync } = kept
        const storage: Storage.Storage = { ...kept, sync: (reports) => sync(reports) }
        for (let i = 0; i < probes; i++) assert.isTrue((yield* Health.check(storage)).healthy)
        for (sync of ways) {
          assert.deepStrictEqual(yield* troubleOf(storage), [
            "Invalid",
            "the record was written and could not be read back"
          ])
        }
      }
    }))

  it.effect("a probe of a storage that dies, throws, or interrupts itself fails with Unavailable", () =>
    Effect.gen(function*() {
      const dies = yield* faulty(() => Effect.die("boom"))
      assert.deepStrictEqual(yield* troubleOf(dies.storage), ["Unavailable", "boom"])
      const throws = () => {
        throw new Error("boom")
      }
      const [reason, cause] = yield* troubleOf({ ...(yield* memory), sync: throws })
      assert.deepStrictEqual([reason, String(cause)], ["Unavailable", "Error: boom"])
      const interrupted = yield* faulty(() => Effect.interrupt)
      assert.strictEqual((yield* troubleOf(interrupted.storage))[0], "Unavailable")
    }))

  it.effect("a probe of a storage whose answer is malformed fails with Invalid", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const answers: ReadonlyArray<unknown> = [
        undefined,
        "OK",
        [],
        [undefined],
        [{ circuit: "c", result: "OK" }],
        [{ circuit: "c", result: Result.succeed(undefined) }],
        [{ circuit: "c", result: Result.succeed({ reported: "Counted", snapshot: {} }) }]
      ]
      for (const answer of answers) {
        const [reason] = yield* troubleOf({ ...storage, sync: () => Effect.succeed(answer as never) })
        assert.strictEqual(reason, "Invalid", String(answer))
      }
    }))

  it.effect("a probe of a storage with its own copy of this library fails with the error of that copy", () =>
    Effect.gen(function*() {
      for (const reason of ["Unavailable", "Denied", "Invalid", "Deadline"] as const) {
        assert.deepStrictEqual(yield* troubleOf((yield* faulty(failingAsForeign(reason))).storage), [reason, reason])
      }
    }))

  it.effect("a probe interrupts its request when its caller is interrupted", () =>
    Effect.gen(function*() {
      let interrupted = 0
      const { storage } = yield* faulty(() => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++)))
      const probe = yield* Effect.forkChild(Health.check(storage), { startImmediately: true })
      yield* Fiber.interrupt(probe)
      yield* untilQuiet
      assert.strictEqual(interrupted, 1)
    }))

  it.effect("a probe is healthy while other probes of the same and of another process run", () =>
    Effect.gen(function*() {
      const of = yield* memory
      const links = [new Link(of), new Link(of)]
      for (const link of links) link.fault((request) => Effect.tap(request, Effect.yieldNow))
      const all = yield* Effect.all(
        Array.from({ length: 40 }, (_, i) => Health.check(links[i % 2]!.storage)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(all.filter(({ healthy }) => !healthy), [])
      const [a, b] = links.map(({ reports }) => new Set(reports.map(({ circuit }) => circuit)))
      assert.deepStrictEqual([a?.size, b?.size, new Set([...a!, ...b!]).size], [1, 1, 2])
    }))

  it.effect("a probe of a fallback chain is healthy while one of its storages answers", () =>
    Effect.gen(function*() {
      const links = [yield* faulty(failing("Unavailable")), yield* linked]
      const chain = yield* Effect.provide(
        Storage.Storage,
        Storage.fallback([{ storage: links[0]!.layer }, { storage: links[1]!.layer }])
      )
      assert.isTrue((yield* Health.check(chain)).verified)
      links[1]!.fault(failing("Unavailable"))
      assert.strictEqual((yield* troubleOf(chain))[0], "Unavailable")
    }).pipe(Effect.provide(Logger.layer([]))))

  it.effect("a probe leaves one record of constant size that expires", () =>
    Effect.gen(function*() {
      const { documents, storage } = open()
      const sizes = new Set<number>()
      for (let i = 0; i < 9; i++) {
        yield* Health.check(storage)
        yield* TestClock.adjust("1 second")
        const [document, ...others] = [...documents.values()]
        assert.deepStrictEqual([others.length, document?.history], [0, []])
        sizes.add(document?.record.seen.length ?? 0)
        assert.strictEqual(document?.expiresAt, 60_000 + i * 1000)
      }
      assert.deepStrictEqual([...sizes], [1])
      yield* TestClock.adjust("2 minutes")
      assert.isTrue((yield* Health.check(storage)).healthy)
    }))

  it.effect("a probe keeps its record out of the list of circuits", () =>
    Effect.gen(function*() {
      const { documents, storage } = open()
      yield* Health.check(storage)
      assert.strictEqual(documents.size, 1)
      assert.deepStrictEqual(yield* Stream.runCollect(storage.list), [])
    }))

  it.live("a probe keeps its record out of the list of circuits of SQLite", () =>
    Effect.gen(function*() {
      const storage = yield* Storage.Storage
      assert.isTrue((yield* Health.check(storage, { deadline: "20 seconds" })).verified)
      assert.deepStrictEqual(yield* Stream.runCollect(storage.list), [])
    }).pipe(Effect.provide(Layer.provide(Sql.layer(), Sqlite.layer({ file: ":memory:" })))))
})

describe("a health monitor", () => {
  it.effect("a monitor probes at once and then every 30 seconds until its scope closes", () =>
    Effect.gen(function*() {
      const link = yield* linked
      const { changes, close, current } = yield* monitor(link)
      const probes: Array<number> = []
      const consumer = yield* changes.pipe(
        Stream.runForEach(({ at }) => Effect.sync(() => probes.push(at))),
        Effect.forkChild({ startImmediately: true })
      )
      yield* untilQuiet
      assert.deepStrictEqual(probes, [0])
      yield* TestClock.adjust("29999 millis")
      assert.deepStrictEqual(probes, [0])
      yield* TestClock.adjust("31 seconds")
      assert.deepStrictEqual(probes, [0, 30_000, 60_000])
      assert.strictEqual((yield* current)?.at, 60_000)
      yield* close
      yield* Fiber.join(consumer)
      const { length } = link.sent
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(link.sent.length, length)
    }))

  it.effect("a monitor keeps its interval while probes are slow", () =>
    Effect.gen(function*() {
      const link = yield* faulty(slow(100))
      const { current } = yield* monitor(link, { every: "10 seconds" })
      yield* TestClock.adjust("20300 millis")
      assert.strictEqual((yield* current)?.at, 20_300)
    }))

  it.effect("a monitor interrupts a running probe when its scope closes", () =>
    Effect.gen(function*() {
      let interrupted = 0
      const link = yield* faulty(() => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++)))
      const { close, current, ready } = yield* monitor(link)
      const waits = yield* Effect.forkChild(Effect.flip(ready), { startImmediately: true })
      yield* close
      yield* untilQuiet
      assert.strictEqual(interrupted, 1)
      assert.strictEqual((yield* Fiber.join(waits)).reason, "Unavailable")
      assert.isUndefined(yield* current)
    }))

  it.effect("a monitor is ready after its first healthy probe, and ready sends no request", () =>
    Effect.gen(function*() {
      const link = yield* faulty(slow(100))
      const { ready } = yield* monitor(link)
      const first = yield* Effect.forkChild(ready, { startImmediately: true })
      yield* TestClock.adjust("299 millis")
      assert.isUndefined(first.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(first)
      const { length } = link.sent
      yield* ready
      assert.strictEqual(link.sent.length, length)
    }))

  it.effect("a monitor is not ready after a probe failed or hung, and is ready again after a healthy one", () =>
    Effect.gen(function*() {
      const link = yield* linked
      const { ready } = yield* monitor(link)
      yield* ready
      link.fault(hanging)
      yield* TestClock.adjust("30500 millis")
      yield* ready
      yield* TestClock.adjust("500 millis")
      assert.strictEqual((yield* Effect.flip(ready)).reason, "Deadline")
      link.fault(failing("Denied"))
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual((yield* Effect.flip(ready)).reason, "Denied")
      link.fault(undefined)
      yield* TestClock.adjust("30 seconds")
      yield* ready
    }))

  it.effect("a monitor is not ready when its last probe is too old", () =>
    Effect.gen(function*() {
      const link = yield* linked
      // Time passes on the clock, and no sleep ends.
      let skipped = 0n
      const clock = yield* Clock.Clock
      const stopped = {
        ...clock,
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + skipped,
        sleep: () => Effect.never
      }
      const { ready } = yield* Effect.provideService(monitor(link), Clock.Clock, stopped as Clock.Clock)
      skipped = 61_000_000_000n
      yield* ready
      skipped++
      assert.strictEqual((yield* Effect.flip(ready)).cause, "the last probe is too old")
    }))

  it.effect("a monitor is not ready after its scope has closed", () =>
    Effect.gen(function*() {
      const { close, ready } = yield* monitor(yield* linked)
      yield* ready
      yield* close
      assert.strictEqual((yield* Effect.flip(ready)).reason, "Unavailable")
    }))

  it.effect("a monitor sets the metrics health, duration and errors by backend, and health while it runs", () =>
    Effect.gen(function*() {
      const link = yield* faulty(slow(10))
      const { close } = yield* monitor(link)
      yield* TestClock.adjust("30030 millis")
      const gauge = Metric.withAttributes(Health.health, { backend: "memory" })
      const timer = Metric.withAttributes(Health.duration, { backend: "memory" })
      assert.strictEqual((yield* Metric.value(gauge)).value, 1)
      link.fault(failing("Unavailable"))
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual((yield* Metric.value(gauge)).value, 0)
      const { count, max, sum } = yield* Metric.value(timer)
      assert.deepStrictEqual([count, sum, max], [2, 0.06, 0.03])
      const exported = (yield* PrometheusMetrics.format()).split("\n")
      assert.include(exported, `circuit_breaker_persistence_health{backend="memory"} 0`)
      assert.include(exported, `circuit_breaker_persistence_duration_bucket{backend="memory",le="0.032"} 2`)
      assert.include(exported, `circuit_breaker_persistence_errors{backend="memory",reason="Unavailable"} 1`)
      assert.strictEqual((yield* Metric.snapshot).length, 3)
      yield* close
      assert.notInclude(yield* PrometheusMetrics.format(), "circuit_breaker_persistence_health")
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("a monitor logs once when the storage stops being healthy and once when it is healthy again", () => {
    const lines: Array<ReadonlyArray<unknown>> = []
    const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
      const { backend, cause } = fiber.getRef(References.CurrentLogAnnotations)
      lines.push([logLevel, String(message), backend, cause instanceof Storage.StorageError ? cause.reason : cause])
    })
    return Effect.gen(function*() {
      const link = yield* linked
      yield* monitor(link)
      for (const fault of [failing("Unavailable"), failing("Denied"), undefined, undefined]) {
        link.fault(fault)
        yield* TestClock.adjust("30 seconds")
        yield* untilQuiet
      }
      assert.deepStrictEqual(lines, [
        ["Warn", "The storage is not healthy", "memory", "Unavailable"],
        ["Info", "The storage is healthy again", "memory", undefined]
      ])
      yield* monitor(yield* faulty(failing("Invalid")))
      yield* untilQuiet
      assert.deepStrictEqual(lines.slice(2), [["Warn", "The storage is not healthy", "memory", "Invalid"]])
    }).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.effect("a monitor is ready beside another monitor of the same storage", () =>
    Effect.gen(function*() {
      const link = yield* faulty((request) => Effect.tap(request, Effect.yieldNow))
      const monitors = yield* Effect.all([monitor(link), monitor(link)])
      yield* TestClock.adjust("5 minutes")
      for (const { ready } of monitors) yield* ready
      assert.isAtLeast(link.reports.filter(counts).length, 22)
    }))

  it.effect("a monitor can be built as a layer", () =>
    Health.Monitor.use(({ ready }) => ready).pipe(
      Effect.provide(Layer.provide(Health.layer({ every: "1 minute" }), Storage.MemoryStorageLive))
    ))

  it("a monitor throws a RangeError with field, value and range for options out of range", () => {
    assert.throws(
      () => Health.make({ every: 0, deadline: "-1 second" }),
      RangeError,
      "Health: every must be a finite duration from 10 ms to 86400000 ms, got 0; " +
        "deadline must be a finite duration from 1 ms to 3600000 ms, got \"-1 second\""
    )
    const storage = Effect.runSync(memory)
    assert.throws(() => Health.check(storage, { deadline: Infinity }), RangeError, "deadline")
  })
})
