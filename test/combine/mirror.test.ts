import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { circuitOf, failed, failures, FORCED, HOUR, MINUTE } from "../../src/conformance/Law.ts"
import { Storage } from "../../src/index.ts"
import { messages } from "../../src/internal/Messages.ts"
import * as Conformance from "../../src/Storage/Conformance.ts"
import * as MemoryStorage from "../../src/Storage/Memory.ts"
import * as Mirror from "../../src/Storage/Mirror.ts"
import { table } from "../Storage/table.ts"
import { failing, hanging, Link, memory } from "../support/storages.ts"
import { failTimes, untilQuiet, withReports } from "../utils.ts"

const linksOf = Effect.map(
  Effect.all([memory, memory]),
  (storages) => storages.map((storage, i) => new Link({ ...storage, backend: "ab"[i]! }))
)

const mirrorOf = (links: ReadonlyArray<Link>) =>
  Effect.gen(function*() {
    const [first, ...rest] = links.map(({ storage }) => ({ storage }))
    const mirror = yield* Mirror.make([first!, ...rest])
    const reconciled: Array<string> = []
    yield* Effect.forkScoped(
      Stream.runForEach(mirror.events, (event) =>
        Effect.sync(() => {
          if (event._tag !== "Reconciled") return
          const { back, circuits, failed, forward, from, to } = event
          if (circuits > 0) reconciled.push(`${from} > ${to}: ${circuits}: ${forward}, ${back}, ${failed}`)
        })),
      { startImmediately: true }
    )
    return {
      mirror,
      reconciled,
      circuit: circuitOf(mirror, "c"),
      at: links.map(({ storage }) => circuitOf(storage, "c"))
    }
  })

const made = Effect.gen(function*() {
  const links = yield* linksOf
  return { links, ...(yield* mirrorOf(links)) }
})

/** Waits until background work is done. */
const quiet = Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), untilQuiet), { times: 3 })

const views = (circuits: ReadonlyArray<ReturnType<typeof circuitOf>>) => Effect.forEach(circuits, ({ read }) => read)

describe("a mirror keeps the laws of storages", () => {
  const laws = Conformance.laws({
    ...table,
    outage: undefined,
    layer: (options) =>
      Mirror.layer([
        { storage: table.layer(options) },
        { storage: Layer.effect(Storage.Storage, MemoryStorage.make(options)) }
      ])
  })
  for (const law of laws) it.effect(law.name, () => law.check)
})

describe("a mirror", () => {
  it.effect("a mirror reports to all storages, and gives each change one generation", () =>
    Effect.gen(function*() {
      const { at, circuit } = yield* made
      yield* circuit.report(failures(3))
      yield* untilQuiet
      for (const seen of yield* views(at)) assert.containSubset(seen, failed(3))
      yield* circuit.open()
      yield* circuit.operate({ _tag: "Override", ...FORCED })
      yield* quiet
      const [first, second] = yield* views(at)
      assert.containSubset(second, {
        generation: first!.generation,
        state: { _tag: "Open" },
        override: { kind: "ForcedOpen" },
        lifetime: { failure: 3 }
      })
    }))

  it.effect("a mirror does not wait for its copies", () =>
    Effect.gen(function*() {
      const { circuit, links } = yield* made
      links[1]!.fault(() => Effect.uninterruptible(Effect.never))
      yield* Effect.repeat(circuit.report(failures(1)), { times: 100 })
      yield* circuit.open()
      assert.isAtMost(links[1]!.sent.filter((operation) => operation === "sync").length, 10)
    }))

  it.effect("a mirror continues on a copy with the same evidence", () =>
    Effect.gen(function*() {
      const { circuit, links } = yield* made
      yield* circuit.report(failures(3))
      yield* untilQuiet
      links[0]!.fault(failing("Unavailable"))
      const { snapshot } = yield* circuit.report(failures(1))
      assert.containSubset(snapshot, { streak: 4, lifetime: { failure: 4 } })
    }))

  it.effect("a mirror brings a copy that missed changes and reports up to date", () =>
    Effect.gen(function*() {
      const { at, circuit, links } = yield* made
      yield* circuit.report(failures(1))
      links[1]!.fault(failing("Unavailable"))
      for (let i = 0; i < 5; i++) yield* circuit.report(failures(2))
      yield* circuit.open()
      yield* circuit.report(failures(4))
      links[1]!.fault(undefined)
      yield* TestClock.adjust("1 minute")
      yield* untilQuiet
      const [first, second] = yield* views(at)
      assert.strictEqual(first!.generation, second!.generation)
      assert.deepStrictEqual([first!.lifetime.failure, second!.lifetime.failure], [15, 15])
    }))

  it.effect("a mirror brings the first storage up to date with the changes and counts of a copy", () =>
    Effect.gen(function*() {
      const { at, circuit, links } = yield* made
      yield* circuit.report(failures(1))
      yield* untilQuiet
      links[0]!.fault(failing("Unavailable"))
      for (let i = 0; i < 5; i++) yield* circuit.report(failures(2))
      yield* circuit.open()
      links[0]!.fault(undefined)
      yield* TestClock.adjust("1 minute")
      yield* circuit.report(failures(4))
      yield* quiet
      const [first, second] = yield* views(at)
      assert.strictEqual(first!.generation, second!.generation)
      assert.deepStrictEqual([first!.lifetime.failure, second!.lifetime.failure], [15, 15])
    }))

  it.effect("a mirror reconciles all circuits in both directions at the start and then every ten minutes", () =>
    Effect.gen(function*() {
      const links = yield* linksOf
      const [a, b] = links.map(({ storage }) => storage)
      yield* circuitOf(a!, "new here").open({ openFor: HOUR })
      yield* circuitOf(b!, "new there").operate({ _tag: "Override", ...FORCED })
      const { mirror, reconciled } = yield* mirrorOf(links)
      yield* untilQuiet
      for (const name of ["new here", "new there"]) {
        const [here, there] = yield* views([circuitOf(a!, name), circuitOf(b!, name)])
        assert.strictEqual(here!.generation, there!.generation)
        assert.isAbove(here!.generation, 0)
      }
      yield* circuitOf(b!, "new there").operate({ _tag: "ClearOverride" })
      yield* TestClock.adjust("10 minutes")
      yield* quiet
      assert.isUndefined((yield* circuitOf(a!, "new there").read).override)
      yield* mirror.repair
      yield* quiet
      assert.deepStrictEqual(reconciled, ["a > b: 2: 1, 1, 0", "a > b: 2: 0, 1, 0", "a > b: 2: 0, 0, 0"])
    }))

  it.effect("a mirror does not put back circuits that the first storage has forgotten", () =>
    Effect.gen(function*() {
      const links = yield* linksOf
      yield* circuitOf(links[1]!.storage, "c").operate({ _tag: "Override", ...FORCED })
      yield* TestClock.adjust(2 * HOUR)
      const { at } = yield* mirrorOf(links)
      yield* untilQuiet
      assert.deepStrictEqual((yield* views(at)).map(({ override }) => override?.kind), [undefined, "ForcedOpen"])
    }))

  it.effect("a mirror fails its repair when a copy does not answer", () =>
    Effect.gen(function*() {
      const { circuit, links, mirror } = yield* made
      yield* circuit.open()
      links[1]!.fault(hanging)
      const fiber = yield* Effect.forkChild(Effect.flip(mirror.repair))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(fiber)).reason, "Deadline")
    }))

  it.effect("a mirror logs a failed repair, and repairs again", () =>
    withReports((logged) =>
      Effect.gen(function*() {
        const links = yield* linksOf
        yield* circuitOf(links[0]!.storage, "c").open({ openFor: HOUR })
        links[1]!.fault(failing("Unavailable"))
        const { at } = yield* mirrorOf(links)
        yield* quiet
        assert.include(logged.map(({ message }) => message), messages.comparisonFailed.text)
        links[1]!.fault(undefined)
        yield* TestClock.adjust("10 minutes")
        yield* quiet
        assert.strictEqual((yield* at[1]!.read).state._tag, "Open")
      })
    ))

  it.effect("a mirror throws a RangeError for a repairEvery out of range", () =>
    Effect.sync(() =>
      assert.throws(
        () => Mirror.layer([{ storage: Storage.MemoryStorageLive }], { repairEvery: 10 }),
        RangeError,
        "Storage \"mirror\": repairEvery must be a finite duration from 1000 ms to 31536000000 ms, got 10"
      )
    ))
})

describe("breakers on a mirror", () => {
  it.effect("breakers on a mirror keep their state whichever of its storages fails", () =>
    Effect.gen(function*() {
      const { at, links, mirror } = yield* made
      const breaker = yield* new Link(mirror).make("c", {
        trip: { _tag: "ConsecutiveFailures", failures: 2 },
        openFor: "10 minutes",
        evidence: "any"
      })
      yield* failTimes(breaker, 2)
      for (let minute = 0; minute < 9; minute++) {
        links[minute % 2]!.fault(minute % 3 === 0 ? failing("Unavailable") : undefined)
        yield* TestClock.adjust(MINUTE)
        assert.strictEqual((yield* Effect.flip(breaker.wrap(Effect.void)))._tag, "BreakerOpenError")
      }
      for (const link of links) link.fault(undefined)
      yield* TestClock.adjust(2 * MINUTE)
      const call = yield* Effect.forkChild(breaker.wrap(Effect.succeed("up")), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(call), "up")
      yield* TestClock.adjust("1 second")
      yield* untilQuiet
      for (const { state } of yield* views(at)) assert.strictEqual(state._tag, "Closed")
    }))
})
