/** Chains whose first storage is on a disk that is full or read-only: it answers looks and fails writes. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Result, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { circuitOf, failures, FORCED, HOUR, ignored } from "../../src/conformance/Law.ts"
import { Breaker, Storage } from "../../src/index.ts"
import { messages } from "../../src/internal/Messages.ts"
import * as Sqlite from "../../src/layers/Sqlite.ts"
import * as Fallback from "../../src/Storage/Fallback.ts"
import * as Health from "../../src/Storage/Health.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import { Disk, storageOn } from "../file/disk.ts"
import { failure } from "../file/support.ts"
import { eventually } from "../support/machine.ts"
import { temporaryDirectory } from "../support/servers/processes.ts"
import { memory } from "../support/storages.ts"
import { failTimes, untilQuiet, withReports } from "../utils.ts"

const WRITES = ["write", "writeFile", "link", "makeDirectory", "rename", "remove"]

/** From now on each write to the disk fails with this code; without a code, none. Directories can still be flushed. */
const fail = (disk: Disk, code: string | undefined) => {
  disk.before = ({ method, path }) => {
    const isWrite = WRITES.includes(method) || (method === "open" && path.includes("/.tmp/"))
    return code !== undefined && isWrite ? Effect.fail(failure(method, path, code)) : Effect.void
  }
}

const made = Effect.gen(function*() {
  const disk = new Disk()
  const [files, standIn] = [yield* storageOn(disk), yield* memory]
  const chain = yield* Fallback.make([{ storage: files }, { storage: standIn }])
  const events: Array<string> = []
  yield* Effect.forkScoped(
    Stream.runForEach(chain.events, (event) => Effect.sync(() => events.push(event._tag))),
    { startImmediately: true }
  )
  return { disk, files, standIn, chain, events }
})

const report = (circuit: string, calls: number, sequence: number) => ({
  circuit,
  instance: "i",
  sequence,
  generation: 0,
  delta: calls === 0 ? ignored(0) : failures(calls),
  withins: []
})

describe.each(["ENOSPC", "EROFS", "EDQUOT"])("a chain on a disk that fails its writes with %s", (code) => {
  it.effect(`a chain warns once an outage of writes with ${code}, beside circuits that are only looked at (S9)`, () =>
    withReports((logged) =>
      Effect.gen(function*() {
        const { chain, disk, events } = yield* made
        const on = {
          evidence: "any",
          openFor: "10 minutes",
          trip: { _tag: "ConsecutiveFailures", failures: 5 }
        } as const
        const onChain = Effect.provideService(Storage.Storage, chain)
        const busy = yield* onChain(Breaker.make("busy", on))
        const idle = yield* onChain(Breaker.make("idle", on))
        yield* failTimes(idle, 5)
        yield* busy.wrap(Effect.void)
        yield* TestClock.adjust("2 seconds")
        fail(disk, code)
        for (let i = 0; i < 60; i++) {
          yield* busy.wrap(Effect.void)
          yield* TestClock.adjust("250 millis")
          yield* untilQuiet
        }
        assert.strictEqual((yield* idle.snapshot).state, "Open")
        assert.deepStrictEqual(logged.filter(({ level }) => level !== "Debug").map(({ message }) => message), [
          messages.fallback.text,
          messages.storageSkipped.text
        ])
        assert.deepStrictEqual(events.filter((event) => event !== "Fallback"), ["Down"])

        fail(disk, undefined)
        for (let i = 0; i < 120; i++) {
          yield* busy.wrap(Effect.void)
          yield* TestClock.adjust("250 millis")
          yield* untilQuiet
        }
        assert.strictEqual(logged.filter(({ message }) => message === messages.storageBack.text).length, 1)
        assert.strictEqual((yield* circuitOf(chain, "busy").read).lifetime.success, 181)
      })
    ))

  it.effect(`a chain gives an operator's act to what stands in for a disk that fails with ${code}, and brings it back (S9)`, () =>
    Effect.gen(function*() {
      const { chain, disk, events, files } = yield* made
      const circuit = circuitOf(chain, "payments")
      yield* circuit.report(failures(1))
      fail(disk, code)
      yield* circuit.operate({ _tag: "Override", ...FORCED })
      // Looks at other circuits are answered by the disk meanwhile, and do not hide the act.
      for (let i = 0; i < 5; i++) {
        const [payments] = yield* Effect.all([circuit.read, circuitOf(chain, "search").read], {
          concurrency: "unbounded"
        })
        assert.strictEqual(payments.override?.kind, "ForcedOpen")
        yield* TestClock.adjust("1 second")
        yield* untilQuiet
      }
      assert.isUndefined((yield* circuitOf(files, "payments").read).override)
      fail(disk, undefined)
      // Without a write of any call.
      yield* TestClock.adjust("1 minute")
      yield* circuitOf(chain, "search").read
      yield* untilQuiet
      assert.strictEqual((yield* circuitOf(files, "payments").read).override?.kind, "ForcedOpen")
      if (events.includes("Down")) assert.strictEqual(events.findLast((event) => event !== "Reconciled"), "Up")
    }))

  it.effect(`a disk that fails its writes with ${code} is not healthy, and a chain on it is (S9)`, () =>
    Effect.gen(function*() {
      const { chain, disk, files } = yield* made
      for (let i = 0; i < 3; i++) assert.isTrue((yield* Health.check(chain)).healthy)
      assert.isTrue((yield* Health.check(files)).healthy)
      fail(disk, code)
      for (let i = 0; i < 3; i++) {
        assert.isTrue((yield* Health.check(chain)).healthy)
        assert.strictEqual((yield* Health.check(files)).error?.reason, "Unavailable")
      }
      fail(disk, undefined)
      yield* TestClock.adjust("1 minute")
      for (const storage of [files, chain]) assert.isTrue((yield* Health.check(storage)).healthy)
    }))

  it.effect(`a chain leaves the looks of a batch to a disk that fails its writes with ${code} (S9)`, () =>
    Effect.gen(function*() {
      const { chain, disk, events, files, standIn } = yield* made
      yield* circuitOf(files, "idle").open({ openFor: HOUR, maxOpenFor: HOUR })
      yield* circuitOf(files, "busy").report(failures(1))
      fail(disk, code)
      for (let sequence = 2; sequence < 8; sequence++) {
        const synced = yield* chain.sync([report("idle", 0, sequence), report("busy", 1, sequence)])
        const [idle, busy] = synced.map(({ result }) => Result.getOrThrow(result))
        assert.strictEqual(idle!.snapshot.state._tag, "Open")
        assert.strictEqual(busy!.reported, "Counted")
      }
      assert.strictEqual((yield* circuitOf(standIn, "idle").read).generation, 0)
      assert.strictEqual((yield* circuitOf(standIn, "busy").read).lifetime.failure, 6)
      assert.strictEqual(events.filter((event) => event === "Down").length, 1)
      fail(disk, undefined)
      // Only looks, past the time after which a write may probe.
      for (let second = 0; second < 3; second++) {
        yield* TestClock.adjust("1 second")
        yield* chain.sync([report("idle", 0, 100 + second)])
        yield* untilQuiet
      }
      assert.strictEqual((yield* circuitOf(files, "busy").read).lifetime.failure, 7)
      assert.strictEqual(events.at(-1) === "Reconciled" ? events.at(-2) : events.at(-1), "Up")
    }))
})

describe("a chain on a SQLite file that cannot be written", () => {
  /** How a file stops taking writes, by the connection's own means: root may write everywhere. */
  const ways: Readonly<Record<string, readonly [begin: string, end: string]>> = {
    "is full": ["PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"],
    "is read-only": ["PRAGMA query_only = 1", "PRAGMA query_only = 0"]
  }
  for (const [what, [begin, end]] of Object.entries(ways)) {
    it.live(`a chain on a SQLite file that ${what} warns once, gives acts to what stands in, and goes back (S9)`, () =>
      withReports((logged) =>
        Effect.gen(function*() {
          const directory = yield* Effect.acquireRelease(
            Effect.promise(temporaryDirectory),
            (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
          )
          const client = Sqlite.layer({ file: join(directory, "circuits.sqlite"), busyTimeout: "10 minutes" })
          const context = yield* Layer.build(
            Layer.provideMerge(SqlStorage.layer({ deadline: "10 minutes" }), client)
          )
          const [sqlite, sql] = [Context.get(context, Storage.Storage), Context.get(context, SqlClient.SqlClient)]
          const hops = [{ storage: sqlite }, { storage: yield* memory }] as const
          const chain = yield* Fallback.make(hops, { budget: "10 minutes" })
          const circuit = circuitOf(chain, "payments")
          yield* circuitOf(sqlite, "idle").open({ openFor: HOUR, maxOpenFor: HOUR })
          yield* circuit.report(failures(1))
          yield* sql.unsafe(begin)
          // It takes pages of its own, as the circuits below do.
          yield* circuit.operate({ _tag: "Override", ...FORCED, reason: "x".repeat(20_000) })
          for (let i = 0; i < 6; i++) {
            yield* circuitOf(chain, `${i} ${"x".repeat(20_000)}`).report(failures(1))
            assert.strictEqual((yield* circuitOf(chain, "idle").read).state._tag, "Open")
            assert.strictEqual((yield* circuit.read).override?.kind, "ForcedOpen")
          }
          assert.isUndefined((yield* circuitOf(sqlite, "payments").read).override)
          const warned = logged.filter(({ level }) => level === "Warn").map(({ message }) => message)
          assert.deepStrictEqual(warned, [messages.fallback.text, messages.storageSkipped.text])
          yield* sql.unsafe(end)
          yield* eventually(
            "the act is in the file again",
            Effect.andThen(
              circuitOf(chain, "idle").read,
              Effect.map(circuitOf(sqlite, "payments").read, ({ override }) => override?.kind === "ForcedOpen")
            )
          )
        }).pipe(Effect.scoped)
      ))
  }
})
