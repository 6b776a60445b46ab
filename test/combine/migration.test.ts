import { assert, describe, it } from "@effect/vitest"
import { Effect, Latch, Layer, Result, Stream, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { circuitOf, failures, FORCED, HOUR, ignored, MINUTE } from "../../src/conformance/Law.ts"
import { Storage } from "../../src/index.ts"
import * as Conformance from "../../src/Storage/Conformance.ts"
import * as MemoryStorage from "../../src/Storage/Memory.ts"
import * as Migration from "../../src/Storage/Migration.ts"
import { table } from "../Storage/table.ts"
import { failing, hanging, Link, memory } from "../support/storages.ts"
import { failTimes, untilQuiet } from "../utils.ts"

const PHASES = [
  "read-old-write-both",
  "read-both-write-both",
  "read-new-write-both",
  "read-new-write-new"
] as const

/** Two storages, and processes that migrate from the first to the second, each with its own links. */
const world = (processes = 1, options: Partial<Migration.Options<Service>> = {}) =>
  Effect.gen(function*() {
    const [old, next] = [{ ...(yield* memory), backend: "old" }, { ...(yield* memory), backend: "new" }]
    const made = yield* Effect.forEach(Array.from({ length: processes }), () =>
      Effect.gen(function*() {
        const links = { old: new Link(old), new: new Link(next) }
        const process = yield* Migration.make({ name: "m", from: links.old.storage, to: links.new.storage, ...options })
        return { links, circuit: circuitOf(process.storage, "c"), ...process }
      }))
    return {
      processes: made,
      first: made[0]!,
      at: [circuitOf(old, "c"), circuitOf(next, "c")] as const,
      old,
      new: next
    }
  })
type Service = Storage.Storage

const later = Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), untilQuiet), { times: 3 })

const goTo = (phase: Migration.Phase, { switchTo }: Migration.Migration) =>
  Effect.forEach(PHASES.slice(0, PHASES.indexOf(phase) + 1), (phase) => Effect.andThen(switchTo(phase), later))

for (const phase of PHASES) {
  describe(`a migration in ${phase} keeps the laws of storages`, () => {
    const laws = Conformance.laws({
      ...table,
      capabilities: { shared: false, durable: false, pushes: false, history: true, fences: true, bells: true },
      rewrite: undefined,
      outage: undefined,
      layer: (options) => {
        const to = Layer.effect(Storage.Storage, MemoryStorage.make(options))
        return Migration.layer({
          name: "m",
          // A law may build two migrations, and only `table` gives both the same storage, so that one has to decide.
          ...(phase.startsWith("read-new")
            ? { from: to, to: table.layer(options) }
            : { from: table.layer(options), to }),
          initial: phase
        })
      }
    })
    for (const law of laws) it.effect(law.name, () => law.check)
  })
}

describe("a migration", () => {
  it.effect("a migration lets the old storage decide first, and the new one follow", () =>
    Effect.gen(function*() {
      const { at: [old, next], first: { circuit, links } } = yield* world()
      yield* circuit.report(failures(3))
      yield* circuit.open()
      yield* later
      const [theirs, ours] = [yield* old.read, yield* next.read]
      assert.strictEqual(theirs.generation, ours.generation)
      assert.strictEqual(ours.lifetime.failure, 3)
      assert.isUndefined(links.new.changes.find(({ _tag }) => _tag === "Trip"))
    }))

  it.effect("a migration sends requests to the new storage only in the last phase", () =>
    Effect.gen(function*() {
      const { first: { circuit, links, migration } } = yield* world()
      yield* circuit.open()
      yield* goTo("read-new-write-new", migration)
      links.old.sent.length = 0
      assert.strictEqual((yield* circuit.read).state._tag, "Open")
      yield* circuit.operate({ _tag: "Reset" })
      yield* later
      assert.deepStrictEqual(links.old.sent, [])
    }))

  it.effect("a migration changes its phase on all instances: at once by a push, or with the next report", () =>
    Effect.gen(function*() {
      const { processes } = yield* world(3)
      const [one, two, three] = processes
      yield* Effect.forkScoped(Stream.runDrain(two!.storage.changes), { startImmediately: true })
      yield* one!.migration.switchTo("read-both-write-both")
      yield* untilQuiet
      const phases = Effect.forEach(processes, ({ migration }) => SubscriptionRef.get(migration.phase))
      assert.deepStrictEqual(yield* phases, [PHASES[1], PHASES[1], PHASES[0]])
      yield* three!.circuit.read
      assert.deepStrictEqual(yield* phases, [PHASES[1], PHASES[1], PHASES[1]])
    }))

  it.effect("a migration has the current phase on an instance that starts later", () =>
    Effect.gen(function*() {
      const { first, new: next, old } = yield* world()
      yield* goTo("read-new-write-both", first.migration)
      const late = yield* Migration.make({ name: "m", from: old, to: next })
      assert.strictEqual(yield* SubscriptionRef.get(late.migration.phase), "read-new-write-both")
    }))

  it.effect("a migration switches to the next phase or to the one before, and to no other", () =>
    Effect.gen(function*() {
      const { first: { migration } } = yield* world()
      const error = yield* Effect.flip(migration.switchTo("read-new-write-both"))
      assert.strictEqual(
        error.message,
        "Cannot switch from read-old-write-both to read-new-write-both: phases change one step at a time"
      )
      for (const phase of [...PHASES.slice(1), ...PHASES.toReversed().slice(1)]) {
        yield* migration.switchTo(phase)
        assert.strictEqual(yield* SubscriptionRef.get(migration.phase), phase)
      }
    }))

  it.effect("a migration carries all circuits, also those without calls and those with counts only", () =>
    Effect.gen(function*() {
      const { first: { migration }, new: next, old } = yield* world()
      const names = Array.from({ length: 250 }, (_, i) => `n${i}`)
      for (const [i, name] of names.entries()) {
        const circuit = circuitOf(old, name)
        yield* circuit.report(failures(i + 1))
        if (i % 3 === 1) yield* circuit.open({ openFor: HOUR })
        if (i % 3 === 2) yield* circuit.operate({ _tag: "Override", ...FORCED })
      }
      const progress = yield* Stream.runCollect(migration.backfill)
      assert.deepStrictEqual(progress.map(({ carried, circuits }) => [circuits, carried]), [[100, 100], [200, 200], [
        250,
        250
      ]])
      assert.deepStrictEqual(yield* migration.compare, { circuits: 250, differences: [], failed: [] })
      yield* goTo("read-new-write-new", migration)
      for (const [i, name] of names.entries()) {
        const [theirs, ours] = [yield* circuitOf(old, name).read, yield* circuitOf(next, name).read]
        assert.deepStrictEqual([ours.lifetime.failure, ours.generation], [i + 1, theirs.generation])
        assert.strictEqual(ours.override?.kind ?? ours.state._tag, ["Closed", "Open", "ForcedOpen"][i % 3])
      }
    }))

  it.effect("a migration compares generation, state, override and counts of all circuits", () =>
    Effect.gen(function*() {
      const { at: [old, next], first: { migration }, new: to } = yield* world()
      yield* old.open()
      yield* next.report(ignored(1))
      yield* circuitOf(to, "d").operate({ _tag: "Override", ...FORCED })
      const { circuits, differences } = yield* migration.compare
      assert.strictEqual(circuits, 2)
      assert.deepStrictEqual(differences.map(({ circuit, what }) => [circuit, what]), [
        ["c", ["generation", "state", "counts"]],
        ["d", ["generation", "override"]]
      ])
    }))

  it.effect("a migration uses the newer state of both storages in read-both-write-both", () =>
    Effect.gen(function*() {
      const { at: [old, next], first: { circuit, migration } } = yield* world()
      yield* migration.switchTo("read-both-write-both")
      yield* next.open()
      assert.strictEqual((yield* circuit.read).state._tag, "Open")
      assert.strictEqual((yield* old.read).generation, (yield* next.read).generation)
    }))

  it.effect("a migration does not switch its phase while a circuit cannot be carried", () =>
    Effect.gen(function*() {
      const { first: { circuit, links, migration } } = yield* world()
      yield* circuit.open()
      yield* later
      yield* migration.switchTo("read-both-write-both")
      links.new.fault(failing("Unavailable"))
      const error = yield* Effect.flip(migration.switchTo("read-new-write-both"))
      assert.strictEqual(error._tag, "StorageError")
      links.new.fault((request) =>
        Effect.map(request, (answer) =>
          Array.isArray(answer)
            ? answer.map((one) =>
              one.circuit === "c"
                ? {
                  ...one,
                  result: Result.fail(new Storage.StorageError({ operation: "", reason: "Invalid", cause: "" }))
                }
                : one
            ) as never
            : answer), "sync")
      const incomplete = yield* Effect.flip(migration.switchTo("read-new-write-both"))
      assert.strictEqual(
        incomplete.message,
        "Cannot switch from read-both-write-both to read-new-write-both: 1 circuit could not be carried, switch again"
      )
      assert.strictEqual(yield* SubscriptionRef.get(migration.phase), "read-both-write-both")
    }))

  it.effect("a migration switches back with the changes and counts of the new storage", () =>
    Effect.gen(function*() {
      const { at: [old, next], first: { circuit, migration } } = yield* world()
      yield* circuit.open({ openFor: HOUR })
      yield* goTo("read-new-write-new", migration)
      yield* circuit.operate({ _tag: "Reset" })
      yield* circuit.report(failures(2))
      yield* later
      yield* migration.switchTo("read-new-write-both")
      assert.strictEqual((yield* old.read).state._tag, "Closed")
      assert.strictEqual((yield* old.read).generation, (yield* next.read).generation)
      assert.strictEqual((yield* old.read).lifetime.failure, 2)
    }))

  it.effect("a migration announces changes of the new storage when the old one is turned off", () =>
    Effect.gen(function*() {
      const [old, next] = [yield* memory, yield* memory]
      let isOff = false
      const from = {
        ...old,
        changes: Stream.suspend(() => isOff ? Stream.fail(failure) : Stream.interruptWhen(old.changes, off))
      }
      const failure = new Storage.StorageError({ operation: "changes", reason: "Unavailable", cause: "off" })
      const turnedOff = yield* Latch.make()
      const off = turnedOff.await
      const { storage } = yield* Migration.make({ name: "m", from, to: next, initial: "read-new-write-new" })
      const announced: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(
          storage.changes,
          (announcement) =>
            Effect.sync(() =>
              announced.push(announcement._tag === "Changed" ? announcement.circuit : announcement._tag)
            )
        ),
        { startImmediately: true }
      )
      yield* untilQuiet
      isOff = true
      yield* turnedOff.open
      yield* later
      yield* circuitOf(next, "c").open()
      yield* untilQuiet
      assert.deepStrictEqual(announced, ["Subscribed", "Subscribed", "c"])
    }))

  it.effect("a migration does not wait for the storage that follows", () =>
    Effect.gen(function*() {
      const { first: { circuit, links } } = yield* world()
      links.new.fault(() => Effect.uninterruptible(Effect.never))
      yield* Effect.repeat(circuit.report(failures(1)), { times: 20 })
      yield* circuit.open()
    }))

  it("a migration throws a RangeError for options out of range", () => {
    const layer = Storage.MemoryStorageLive
    assert.throws(
      () => Migration.layer({ name: "m", from: layer, to: layer, initial: "done" as never }),
      RangeError,
      "initial"
    )
    assert.throws(() => Migration.layer({ name: "m", from: layer, to: layer, deadline: 0 }), RangeError, "deadline")
    assert.throws(() => Migration.layer({ name: "\ud800", from: layer, to: layer }), RangeError, "name")
    assert.throws(() => Migration.layer({ name: "", from: layer, to: layer }), RangeError, "name")
  })
})

describe("a fleet during a migration", () => {
  const policy = { trip: { _tag: "ConsecutiveFailures", failures: 2 }, openFor: "2 minutes", evidence: "any" } as const
  const reasons = { hangs: hanging, fails: failing("Unavailable") }

  for (const [what, fault] of [...Object.entries(reasons), ["answers", undefined] as const]) {
    it.effect(`a fleet that migrates keeps its circuits, with an old storage that ${what} in the end`, () =>
      Effect.gen(function*() {
        const { at: [, next], first, processes } = yield* world(3)
        const breakers = yield* Effect.forEach(processes, ({ storage }, i) =>
          Effect.all([
            new Link(storage).make("c", policy),
            new Link(storage).make(`own of ${i}`, policy),
            new Link(storage).make("good", policy)
          ]))
        let calls = 0
        const call = Effect.forEach(breakers, ([shared, own, good]) =>
          Effect.gen(function*() {
            assert.strictEqual((yield* Effect.flip(shared.wrap(Effect.void)))._tag, "BreakerOpenError")
            assert.strictEqual((yield* Effect.flip(own.wrap(Effect.void)))._tag, "BreakerOpenError")
            assert.strictEqual(yield* good.wrap(Effect.succeed("good")), "good")
            calls++
          }))
        yield* failTimes(breakers[0]![0], 2)
        for (const [, own] of breakers) yield* failTimes(own, 2)
        yield* later
        for (const phase of PHASES) {
          yield* first.migration.switchTo(phase)
          for (let second = 0; second < 5; second++) {
            yield* call
            yield* TestClock.adjust("1 second")
          }
        }
        for (const { links } of processes) links.old.fault(fault)
        for (let second = 0; second < 60; second++) {
          yield* call
          yield* TestClock.adjust("1 second")
        }
        const good = yield* circuitOf(first.links.new.storage, "good").read
        assert.isAtLeast(good.lifetime.success, calls)
        yield* TestClock.adjust(2 * MINUTE)
        for (const [shared] of breakers) {
          yield* Effect.ignore(shared.wrap(Effect.void))
          yield* later
        }
        assert.strictEqual((yield* next.read).state._tag, "Closed")
      }))
  }
})
