/** Scopes that close while requests to the storage are under way: no line is logged about them. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { Breaker, type Storage, Trip } from "../src/index.ts"
import * as FileStorageLive from "../src/layers/FileStorageLive.ts"
import * as SqliteStorageLive from "../src/layers/SqliteStorageLive.ts"
import { temporaryDirectory } from "./support/servers/processes.ts"
import { hanging, Link, memory, slow } from "./support/storages.ts"
import { failTimes, untilQuiet, withReports } from "./utils.ts"

const policy = { trip: Trip.consecutiveFailures(3), evidence: "any" } as const

describe("a scope that closes while requests are under way", () => {
  it.effect("a breaker logs no line about requests that its storage interrupts, and its calls go on (S12)", () =>
    withReports((logged) =>
      Effect.gen(function*() {
        const link = new Link(yield* memory)
        const breaker = yield* link.make("payments", policy)
        yield* failTimes(breaker, 1)
        yield* TestClock.adjust("1 second")
        link.fault(() => Effect.interrupt)
        yield* failTimes(breaker, 3)
        assert.strictEqual(yield* breaker.state, "Open")
        yield* TestClock.adjust("100 millis")
        yield* untilQuiet
        assert.isAbove(link.sent.length, 2)
        assert.deepStrictEqual(logged.filter(({ message }) => message.startsWith("Failed to")), [])
        link.fault(undefined)
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual((yield* breaker.snapshot).fleet?.waiting, 0)
      })
    ))

  it.effect("a breaker logs no line about a request that ends after its own scope has closed (S12)", () =>
    withReports((logged) =>
      Effect.gen(function*() {
        const link = new Link(yield* memory)
        const scope = yield* Scope.make()
        const breaker = yield* Scope.provide(link.make("payments", policy), scope)
        yield* failTimes(breaker, 1)
        yield* TestClock.adjust("1 second")
        link.fault(slow(500))
        yield* failTimes(breaker, 1)
        yield* TestClock.adjust("60 millis")
        // The last report can only be sent when this one is answered, and ends later than the breaker.
        yield* failTimes(breaker, 1)
        const sent = link.sent.length
        link.fault(hanging)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
        yield* TestClock.adjust("5 seconds")
        yield* untilQuiet
        assert.isDefined(closing.pollUnsafe())
        assert.isAbove(link.sent.length, sent)
        assert.deepStrictEqual(logged, [])
      })
    ))

  for (
    const [name, layerIn] of [
      ["files", (directory: string) => FileStorageLive.layer({ directory: join(directory, "circuits") })],
      ["SQLite", (directory: string) => SqliteStorageLive.layer({ file: join(directory, "circuits.sqlite") })]
    ] as const
  ) {
    it.live(`a storage in ${name} whose scope closes under calls logs no line, and neither do its breakers (S12)`, () =>
      withReports((logged) =>
        Effect.gen(function*() {
          const directory = yield* Effect.acquireRelease(
            Effect.promise(temporaryDirectory),
            (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
          )
          const storage: Layer.Layer<Storage.Storage> = layerIn(directory)
          for (let round = 0; round < 5; round++) {
            const scope = yield* Scope.make()
            const context = yield* Layer.buildWithScope(Layer.fresh(storage), scope)
            const hosts = yield* Breaker.makeKeyed("hosts", { ...policy, syncEvery: "10 millis" }).pipe(
              Effect.provideContext(context),
              Scope.provide(scope)
            )
            const calls = yield* Effect.forkChild(Effect.forEach(
              Array.from({ length: 50 }, (_, i) => i),
              (i) =>
                Effect.andThen(Effect.ignore(hosts.wrap(Effect.fail("down"), { key: `${i % 10}` })), Effect.yieldNow),
              { discard: true }
            ))
            yield* Fiber.join(calls)
            yield* Scope.close(scope, Exit.void)
          }
          assert.deepStrictEqual(logged.filter(({ level }) => level !== "Debug" && level !== "Info"), [])
        }).pipe(Effect.scoped)
      ))
  }
})
