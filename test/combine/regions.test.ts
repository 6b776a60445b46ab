import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Metric } from "effect"
import { TestClock } from "effect/testing"
import { circuitOf, FORCED, MINUTE, success } from "../../src/conformance/Law.ts"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import { messages } from "../../src/internal/Messages.ts"
import * as Conformance from "../../src/Storage/Conformance.ts"
import * as MemoryStorage from "../../src/Storage/Memory.ts"
import * as Regions from "../../src/Storage/Regions.ts"
import { failing, Link, memory } from "../support/storages.ts"
import { failTimes, untilQuiet, withReports } from "../utils.ts"

const NAMES = ["eu", "us", "ap"] as const

/** The storages of three regions, with one process in each region. */
const world = (options?: Regions.Options) =>
  Effect.gen(function*() {
    const links = yield* Effect.forEach(NAMES, (backend) =>
      Effect.map(memory, (storage) => new Link({ ...storage, backend })))
    const regions = Object.fromEntries(links.map((link, i) => [NAMES[i]!, link.storage]))
    const processes = yield* Effect.forEach(NAMES, (name) =>
      Regions.make(name, regions, options))
    return { links, processes, at: links.map(({ storage }) => circuitOf(storage, "c")) }
  })

const states = (circuits: ReadonlyArray<ReturnType<typeof circuitOf>>) =>
  Effect.forEach(circuits, ({ read }) => Effect.map(read, ({ override, state }) => override?.kind ?? state._tag))

const later = Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), untilQuiet), { times: 3 })

describe("a regional storage keeps the laws of storages", () => {
  const laws = Conformance.laws({
    capabilities: { shared: false, durable: false, pushes: true, history: true, fences: true, bells: true },
    layer: (options) =>
      Regions.layer({
        eu: Layer.effect(Storage.Storage, MemoryStorage.make(options)),
        us: Layer.effect(Storage.Storage, MemoryStorage.make(options))
      }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ CIRCUIT_BREAKER_REGION: "us" })))),
    advance: TestClock.adjust
  })
  for (const law of laws) it.effect(law.name, () => law.check)
})

describe("a regional storage", () => {
  it.effect("a regional storage sends requests to its own region, and mirrors a trip to the others", () =>
    Effect.gen(function*() {
      const { at, links, processes } = yield* world()
      const eu = circuitOf(processes[0]!, "c")
      yield* eu.read
      assert.deepStrictEqual(links.map(({ sent }) => sent.length), [1, 0, 0])
      yield* eu.open()
      yield* untilQuiet
      assert.deepStrictEqual(yield* states(at), ["Open", "Open", "Open"])
      const views = yield* Effect.forEach(at, ({ read }) => read)
      assert.strictEqual(new Set(views.map(({ generation }) => generation)).size, 1)
    }))

  it.effect("a regional storage does not mirror a recovery", () =>
    Effect.gen(function*() {
      const { at, processes } = yield* world()
      const [eu, us] = processes.map((storage) => circuitOf(storage, "c"))
      yield* eu!.open({ openFor: MINUTE })
      yield* untilQuiet
      yield* TestClock.adjust(MINUTE)
      yield* us!.ask("i")
      yield* us!.settle("i", success())
      yield* later
      assert.deepStrictEqual(yield* states(at), ["Open", "Closed", "Open"])
    }))

  it.effect("a regional storage applies an operation in the other regions to the state that they have", () =>
    Effect.gen(function*() {
      const { at, processes } = yield* world()
      const [eu] = processes.map((storage) => circuitOf(storage, "c"))
      // No process of the region eu made this change, so it does not mirror it.
      yield* at[1]!.open()
      yield* eu!.operate({ _tag: "Override", ...FORCED })
      yield* untilQuiet
      assert.deepStrictEqual(yield* states(at), ["ForcedOpen", "ForcedOpen", "ForcedOpen"])
      yield* eu!.operate({ _tag: "ClearOverride" })
      yield* untilQuiet
      assert.deepStrictEqual(yield* states(at), ["Closed", "Open", "Closed"])
    }))

  it.effect("a regional storage does not mirror changes that were mirrored to it", () =>
    Effect.gen(function*() {
      const { links, processes } = yield* world()
      for (const storage of processes) {
        yield* circuitOf(storage, "c").open()
        yield* circuitOf(storage, "d").operate({ _tag: "Override", ...FORCED })
      }
      yield* later
      const before = links.map(({ changes }) => changes.length)
      // Two changes of its own, and at most two of each other region.
      for (const count of before) assert.isAtMost(count, 6)
      yield* TestClock.adjust("1 hour")
      yield* untilQuiet
      assert.deepStrictEqual(links.map(({ changes }) => changes.length), before)
    }))

  it.effect("a regional storage queues changes in their order for a region that does not answer", () =>
    withReports((logged) =>
      Effect.gen(function*() {
        const { at, links, processes } = yield* world()
        const eu = circuitOf(processes[0]!, "c")
        links[1]!.fault(failing("Unavailable"))
        yield* eu.open()
        yield* eu.operate({ _tag: "Override", ...FORCED })
        yield* eu.operate({ _tag: "ClearOverride" })
        yield* later
        links[1]!.fault(undefined)
        assert.deepStrictEqual(yield* states(at), ["Open", "Closed", "Open"])
        yield* TestClock.adjust("30 seconds")
        yield* later
        assert.deepStrictEqual(yield* states(at), ["Open", "Open", "Open"])
        assert.deepStrictEqual(logged.map(({ level, message }) => `${level} ${message}`), [
          `Warn ${messages.regionUnreachable.text}`,
          `Info ${messages.regionRecovered.text}`
        ])
      })
    ))

  it.effect("a regional storage mirrors significant changes, and counts them in a metric", () =>
    Effect.gen(function*() {
      const { at, processes } = yield* world({ significant: ({ snapshot }) => snapshot.state._tag === "Closed" })
      const eu = circuitOf(processes[0]!, "c")
      yield* eu.open({ openFor: 1000 })
      yield* untilQuiet
      assert.deepStrictEqual(yield* states(at), ["Open", "Closed", "Closed"])
      yield* TestClock.adjust("1 second")
      yield* eu.ask("i")
      yield* eu.settle("i", success())
      yield* untilQuiet
      const views = yield* Effect.forEach(at, ({ read }) => read)
      assert.strictEqual(new Set(views.map(({ generation }) => generation)).size, 1)
      const counted = (yield* Metric.snapshot).flatMap(({ attributes, id, state }) =>
        id === "circuit_breaker.persistence.mirrored" ? [[attributes, Number((state as any).count)]] : []
      )
      assert.sameDeepMembers(counted, [
        [{ from: "eu", to: "us", unit: "{change}" }, 1],
        [{ from: "eu", to: "ap", unit: "{change}" }, 1]
      ])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("a regional storage picks thresholds by CIRCUIT_BREAKER_REGION", () =>
    Effect.gen(function*() {
      class Payments extends Breaker.Service<Payments>()("payments", {
        trip: Trip.consecutiveFailures(5),
        evidence: "any"
      }) {}
      const layer = Payments.layerConfig({
        trip: Regions.pick({ eu: Trip.consecutiveFailures(2), us: Trip.consecutiveFailures(3) })
      }).pipe(
        Layer.provide(Regions.layer({ eu: Storage.MemoryStorageLive, us: MemoryStorage.layer })),
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ CIRCUIT_BREAKER_REGION: "us" })))
      )
      yield* Effect.gen(function*() {
        const payments = yield* Payments
        yield* failTimes(payments, 2)
        assert.strictEqual(yield* payments.state, "Closed")
        yield* failTimes(payments, 1)
        assert.strictEqual(yield* payments.state, "Open")
      }).pipe(Effect.provide(layer))
    }))
})

describe("an unknown region", () => {
  const from = (environment: object) => ConfigProvider.layer(ConfigProvider.fromUnknown(environment))
  const layer = Regions.layer({ eu: Storage.MemoryStorageLive, us: Storage.MemoryStorageLive })
  for (const environment of [{}, { CIRCUIT_BREAKER_REGION: "mars" }, { CIRCUIT_BREAKER_REGION: "__proto__" }]) {
    it.effect(`an unknown region is a ConfigError: ${JSON.stringify(environment)}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Layer.provide(layer, from(environment)))))
        assert.instanceOf(error, Config.ConfigError)
        assert.include(error.message, "CIRCUIT_BREAKER_REGION")
        const picked = yield* Effect.flip(Effect.provide(Regions.pick({ eu: 1 }), from(environment)))
        assert.include(picked.message, "CIRCUIT_BREAKER_REGION")
      }))
  }

  it("an unknown region throws a RangeError when a regional storage is made", () => {
    assert.throws(
      () => Regions.make("mars", { eu: {} as Storage.Storage }),
      RangeError,
      "Storage \"regions\": region must be one of eu, got \"mars\""
    )
    assert.throws(() => Regions.layer({}), RangeError, "regions must be at least one region, got {}")
    assert.throws(() => Regions.layer({ eu: MemoryStorage.layer }, { deadline: -1 }), RangeError, "deadline")
  })
})
