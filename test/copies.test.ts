/** Two copies of this library in one process: an application's, and the one that a storage or a reloaded module brings. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Layer, Logger, References } from "effect"
import { TestClock } from "effect/testing"
import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { vi } from "vitest"
import { Breaker, Outcome, Storage, Trip } from "../src/index.ts"
import { messages } from "../src/internal/Messages.ts"
import { isStorageError } from "../src/Storage/Storage.ts"
import { root } from "./support/docs.ts"
import { Link, memory } from "./support/storages.ts"
import { rejectionOf, untilQuiet } from "./utils.ts"

vi.resetModules()
const other = await import("../src/index.ts")

const one = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const

/** Runs with a logger that keeps the text and the fields of each line. */
const withLines = <A, E, R>(
  f: (lines: ReadonlyArray<readonly [string, Readonly<Record<string, unknown>>]>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const lines: Array<readonly [string, Readonly<Record<string, unknown>>]> = []
    const logger = Logger.make<unknown, void>(({ fiber, message }) => {
      lines.push([String(message), fiber.getRef(References.CurrentLogAnnotations)])
    })
    return Effect.provide(f(lines), Logger.layer([logger]))
  })

const unavailable = new other.Storage.StorageError({ operation: "sync", reason: "Unavailable", cause: "gone" })

describe("two copies of the library", () => {
  it("the copies have classes of their own", () => {
    assert.notStrictEqual(other.Breaker.BreakerOpenError, Breaker.BreakerOpenError)
    assert.notStrictEqual(other.Storage.StorageError, Storage.StorageError)
    assert.notInstanceOf(unavailable, Storage.StorageError)
  })

  it("the guards know the errors of another copy (F24)", () => {
    const open = new other.Breaker.BreakerOpenError({ circuit: "c", state: "Open", openedBy: "instance" })
    const full = new other.Breaker.BulkheadFullError({ circuit: "c", maxConcurrent: 1 })
    const timeout = new other.Breaker.BreakerTimeoutError({ circuit: "c", timeout: Duration.seconds(1) })
    assert.isTrue([open, full, timeout].every(Breaker.isRejection))
    assert.isTrue([open, full, unavailable].every(Breaker.isNotCalled))
    assert.isTrue(Breaker.isTimeout(timeout))
    assert.isTrue([open, full, timeout, unavailable].every(Breaker.isBreakerError))
    assert.isTrue(isStorageError(unavailable))
    assert.deepStrictEqual([open, full].map((error) => Outcome.fromExit(Exit.fail(error))._tag), ["Ignored", "Ignored"])
  })

  it("a class of this library is never recognized by instanceof, unless only this library makes it (F24)", () => {
    // Of these, a foreign object is never passed: both have parts that another copy's objects lack.
    const own = ["Circuit", "Member", "Range", "MysqlConnection", "AnnouncementError", "ForeignReply", "NotRetried"]
    // Of the platform, and of a driver.
    const foreign = ["Error", "AggregateError", "RangeError", "Cluster"]
    // Apart from the dashboard's page, which runs in a browser.
    const files = globSync("src/**/*.ts", { cwd: root, exclude: ["src/dashboard/internal/page.ts"] })
    const found = files.flatMap((file) =>
      [...readFileSync(join(root, file), "utf8").matchAll(/\binstanceof (\w+)/g)].map(([, name]) => name!)
    )
    assert.isAbove(found.length, 0)
    assert.deepStrictEqual([...new Set(found)].filter((name) => ![...own, ...foreign].includes(name)), [])
  })

  it.effect("a storage of another copy that does not answer is away, and is no circuit that cannot be decoded (F24)", () =>
    withLines((lines) =>
      Effect.gen(function*() {
        const link = new Link(yield* Effect.provide(other.Storage.Storage, other.Storage.MemoryStorageLive))
        const [a, b] = [yield* link.make("a", one), yield* link.make("b", one)]
        link.fault(() => Effect.fail(unavailable))
        for (const breaker of [a, b]) {
          yield* breaker.wrap(Effect.void)
          yield* TestClock.adjust("1 second")
          yield* untilQuiet
        }
        assert.isFalse((yield* a.snapshot).fleet?.reachable)
        assert.isFalse((yield* b.snapshot).fleet?.reachable)
        const texts = lines.map(([text]) => text)
        assert.include(texts, messages.storageUnreachable.text)
        assert.notInclude(texts, messages.decodeFailed.text)
        link.fault(undefined)
        yield* TestClock.adjust("2 seconds")
        yield* untilQuiet
        assert.isTrue((yield* a.snapshot).fleet?.reachable)
      })
    ))

  it.effect("a chain goes on to the next storage where one of another copy does not answer (F24)", () =>
    Effect.gen(function*() {
      const away = new Link(yield* memory)
      away.fault(() => Effect.fail(unavailable))
      const next = new Link(yield* memory)
      const chain = Storage.fallback([{ storage: away.layer }, { storage: next.layer }])
      const breaker = yield* Breaker.make("chained", one).pipe(Effect.provide(chain))
      yield* breaker.wrap(Effect.void)
      yield* untilQuiet
      assert.isAbove(next.sent.length, 0)
    }))

  it.effect("an error of a storage's own circuit is told apart, too, when it is another copy's (F24)", () =>
    withLines((lines) =>
      Effect.gen(function*() {
        const invalid = new other.Storage.StorageError({ operation: "sync", reason: "Invalid", cause: "damaged" })
        const link = new Link(yield* memory)
        link.fault(() => Effect.fail(invalid), "sync")
        const breaker = yield* link.make("damaged", one)
        yield* breaker.wrap(Effect.void)
        yield* untilQuiet
        assert.deepStrictEqual(lines.map(([text]) => text), [messages.decodeFailed.text])
      })
    ))

  it.effect("a policy, an outcome, a bypass and a service of another copy are understood (F24)", () =>
    Effect.gen(function*() {
      class Payments extends Breaker.Service<Payments>()("copied", {}) {}
      class Theirs extends other.Breaker.Service<Theirs>()("copied", {
        trip: other.Trip.consecutiveFailures(1),
        classify: (exit) => Exit.isFailure(exit) ? other.Outcome.failure() : other.Outcome.success
      }) {}
      const mine = yield* new Link(yield* memory).make("mixed", {
        trip: other.Trip.consecutiveFailures(1),
        classify: () => other.Outcome.failure()
      })
      yield* mine.wrap(Effect.void)
      yield* rejectionOf(mine)
      assert.strictEqual(yield* other.Breaker.bypass(mine.wrap(Effect.succeed(1))), 1)
      const call = Payments.wrap(Effect.fail("no")).pipe(Effect.exit)
      const theirs = Layer.provide(Theirs.layer, other.Storage.MemoryStorageLive) as unknown as Layer.Layer<Payments>
      const [first, second] = yield* Effect.provide(Effect.all([call, call]), theirs)
      assert.deepStrictEqual(first, Exit.fail("no"))
      assert.isTrue(Exit.isFailure(second) && Breaker.isNotCalled(Cause.squash(second.cause)))
    }))
})

describe("a module that is evaluated again", () => {
  const copies = { "with the same copy of the library": Breaker, "with a copy of its own": other.Breaker }
  for (const [how, library] of Object.entries(copies)) {
    const evaluate = (library: typeof Breaker) => {
      class Reloaded extends library.Service<Reloaded>()("reloaded", one) {}
      class Hosts extends library.KeyedService<Hosts>()("hosts", one) {}
      return { Reloaded, Hosts }
    }

    it.effect(`a module that is evaluated again ${how} works, with one warning for each service (F19)`, () =>
      withLines((lines) =>
        Effect.gen(function*() {
          const [first, second] = [evaluate(Breaker), evaluate(library as typeof Breaker)]
          const storage = yield* memory
          const build = <A, E>(layer: Layer.Layer<A, E, Storage.Storage>) =>
            Layer.build(Layer.fresh(Layer.provide(layer, Layer.succeed(Storage.Storage, storage))))
          const merged = (service: typeof first) => Layer.merge(service.Reloaded.layer, service.Hosts.layer)
          const before = yield* build(merged(first))
          const after = yield* build(merged(second))
          yield* build(merged(second))
          assert.deepStrictEqual(lines, [
            [messages.madeTwice.text, { circuit: "reloaded", service: "Reloaded", other: "Reloaded" }],
            [messages.madeTwice.text, { circuit: "hosts/", service: "Hosts", other: "Hosts" }]
          ])
          const sees = Effect.gen(function*() {
            const one = yield* Effect.flip(first.Reloaded.wrap(Effect.void))
            const key = yield* Effect.flip(first.Hosts.wrap(Effect.void, { key: "a" }))
            return [Breaker.isNotCalled(one), Breaker.isNotCalled(key)]
          })
          yield* Effect.provideContext(
            Effect.andThen(
              Effect.exit(first.Reloaded.wrap(Effect.fail("no"))),
              Effect.exit(first.Hosts.wrap(Effect.fail("no"), { key: "a" }))
            ),
            before
          )
          yield* untilQuiet
          // The keys of both evaluations are the same, so that either one's wrap finds the service of any context.
          assert.deepStrictEqual(yield* Effect.provideContext(sees, before), [true, true])
          assert.deepStrictEqual(yield* Effect.provideContext(sees, after), [true, true])
        })
      ))
  }

  it.effect("a service that outlives the one it replaced is warned of no more (F19)", () =>
    withLines((lines) =>
      Effect.gen(function*() {
        const evaluate = () => {
          class Reloaded extends Breaker.Service<Reloaded>()("outlives", one) {}
          return Reloaded
        }
        const [First, Second] = [evaluate(), evaluate()]
        const storage = Layer.succeed(Storage.Storage, yield* memory)
        const build = (layer: typeof First.layer) => Layer.build(Layer.fresh(Layer.provide(layer, storage)))
        yield* Effect.scoped(Effect.andThen(build(First.layer), Effect.asVoid(build(Second.layer))))
        yield* build(Second.layer)
        yield* build(Second.layer)
        assert.strictEqual(lines.length, 1)
      })
    ))

  it.effect("two services of different names are a conflict across copies, too (F19)", () =>
    Effect.gen(function*() {
      class Mine extends Breaker.Service<Mine>()("contested", one) {}
      class Theirs extends other.Breaker.KeyedService<Theirs>()("contested", one) {}
      class Crowd extends Breaker.Service<Crowd>()("contested~overflow", one) {}
      const storage = Layer.succeed(Storage.Storage, yield* memory)
      const build = <A, E>(layer: Layer.Layer<A, E, Storage.Storage>) =>
        Effect.exit(Layer.build(Layer.fresh(Layer.provide(layer, storage))))
      assert.isTrue(Exit.isSuccess(yield* build(Mine.layer)))
      assert.isTrue(Exit.isSuccess(yield* build(Theirs.layer as unknown as Layer.Layer<never, never, Storage.Storage>)))
      const exit = yield* build(Crowd.layer)
      assert.isTrue(Exit.isFailure(exit))
      assert.include(String(exit), "belongs to Theirs and to Crowd")
    }))
})
