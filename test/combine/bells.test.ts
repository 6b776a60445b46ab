/** A fleet on storages of several storages is silent, and hears of each change, whichever of them decides. Nothing is pushed. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import * as Fallback from "../../src/Storage/Fallback.ts"
import * as Migration from "../../src/Storage/Migration.ts"
import * as Mirror from "../../src/Storage/Mirror.ts"
import * as Null from "../../src/Storage/Null.ts"
import * as Regions from "../../src/Storage/Regions.ts"
import { failing, Link, memory, type Operation } from "../support/storages.ts"
import { untilQuiet } from "../utils.ts"

const RINGS = { bells: true, pushes: false, durable: true } as const

const policy = {
  trip: Trip.failureRate({ threshold: 0.5, within: "90 seconds", minimumCalls: 4 }),
  evidence: "pooled",
  reports: "quiet"
} as const

type Kind = "fallback" | "mirror" | "migration"

/** A process whose storage is made of two, with a link to each. Its healthy circuit has one call a second. */
class Process {
  readonly links: readonly [Link, Link]
  readonly breaker: Breaker.Breaker<unknown>
  readonly migration: Migration.Migration | undefined

  constructor(links: readonly [Link, Link], breaker: Breaker.Breaker<unknown>, migration?: Migration.Migration) {
    this.links = links
    this.breaker = breaker
    this.migration = migration
  }

  /** How many requests of a kind it has sent to the storage at this place. */
  sent(place: 0 | 1, operation: Operation): number {
    return this.links[place].sent.filter((one) => one === operation).length
  }

  /** The circuits that it has reported outcomes of, one entry a report. */
  reports(place: 0 | 1): number {
    return this.links[place].reports.filter(({ delta }) => delta.lifetime.success > 0).length
  }
}

const on = (storage: Storage.Storage) =>
  Breaker.make("c", policy).pipe(Effect.provide(Layer.succeed(Storage.Storage, storage)))

const processOn = (kind: Kind, stores: ReadonlyArray<Storage.Storage>, capabilities = RINGS) =>
  Effect.gen(function*() {
    const links = stores.map((storage) => new Link(storage, capabilities)) as [Link, Link]
    const [from, to] = links.map(({ storage }) => storage) as [Storage.Storage, Storage.Storage]
    if (kind === "migration") {
      const { migration, storage } = yield* Migration.make({ name: "m", from, to })
      return new Process(links, yield* on(storage), migration)
    }
    const make = kind === "mirror" ? Mirror.make : Fallback.make
    return new Process(links, yield* on(yield* make([{ storage: from }, { storage: to }])))
  })

/** Copies of one database have its epoch. */
const copyOf = (storage: Storage.Storage, backend: string): Storage.Storage => ({
  ...storage,
  backend,
  bells: (since) => Effect.map(storage.bells!(since), (bells) => ({ ...bells, epoch: "data" }))
})

const twoOn = (kind: Kind) =>
  Effect.gen(function*() {
    const stores = [copyOf(yield* memory, "old"), copyOf(yield* memory, "new")]
    const [a, b] = [yield* processOn(kind, stores), yield* processOn(kind, stores)]
    yield* seconds(5, [a, b])
    return [a, b] as const
  })

const seconds = (count: number, processes: ReadonlyArray<Process>) =>
  Effect.repeat(
    Effect.forEach(processes, ({ breaker }) => Effect.ignore(breaker.wrap(Effect.void))).pipe(
      Effect.andThen(TestClock.adjust("1 second")),
      Effect.andThen(untilQuiet)
    ),
    { times: count - 1 }
  )

const opens = ({ breaker }: Process) => breaker.override({ mode: "ForcedOpen", actor: "oncall", reason: "test" })

/** Whether this process knows of the override, two intervals later. */
const hears = (process: Process) =>
  Effect.gen(function*() {
    yield* seconds(2, [process])
    return (yield* process.breaker.snapshot).override !== undefined
  })

for (const kind of ["fallback", "mirror", "migration"] as const) {
  describe(`a fleet on a ${kind}`, () => {
    it.effect("is silent while it is healthy, and a change rings", () =>
      Effect.gen(function*() {
        const [a, b] = yield* twoOn(kind)
        const [reports, polls] = [a.reports(0), a.sent(0, "bells")]
        yield* seconds(60, [a, b])
        assert.isAtMost(a.reports(0) - reports, 4)
        assert.isAtLeast(a.reports(0) - reports, 1)
        assert.isAtLeast(a.sent(0, "bells") - polls, 59)
        yield* opens(a)
        assert.isTrue(yield* hears(b))
      }))

    it.effect("is reported once an interval where one of the storages has no bells", () =>
      Effect.gen(function*() {
        const stores = [yield* memory, { ...(yield* memory), bells: undefined }]
        const a = yield* processOn(kind, stores)
        yield* seconds(5, [a])
        const reports = a.reports(0)
        yield* seconds(20, [a])
        assert.isAtLeast(a.reports(0) - reports, 19)
        assert.strictEqual(a.sent(0, "bells"), 0)
      }))
  })
}

for (const kind of ["fallback", "mirror"] as const) {
  describe(`a ${kind} whose first storage fails`, () => {
    const away = (process: Process) => process.links[0].fault(failing("Unavailable"))
    const back = (process: Process) => process.links[0].fault(undefined)

    it.effect("rings for what the second decides, also while it is only just asked", () =>
      Effect.gen(function*() {
        const [a, b] = yield* twoOn(kind)
        for (const process of [a, b]) away(process)
        yield* opens(a)
        assert.isTrue(yield* hears(b))
        yield* a.breaker.clearOverride({ actor: "oncall" })
        assert.isFalse(yield* hears(b))
      }))

    it.effect("is silent on the second, too", () =>
      Effect.gen(function*() {
        const [a, b] = yield* twoOn(kind)
        for (const process of [a, b]) away(process)
        yield* seconds(40, [a, b])
        const reports = a.reports(1)
        yield* seconds(60, [a, b])
        // A report that the first storage failed is sent twice, as a copy and for the answer.
        assert.isAtMost(a.reports(1) - reports, 8)
        assert.isAtLeast(a.reports(1) - reports, 1)
      }))

    it.effect("rings for what the first decided meanwhile for others, once it answers again", () =>
      Effect.gen(function*() {
        const [a, b] = yield* twoOn(kind)
        away(b)
        // No copy of the change comes to the second.
        a.links[1].fault(failing("Unavailable"))
        yield* seconds(1, [b])
        yield* opens(a)
        yield* seconds(3, [b])
        back(b)
        // The first storage is skipped for a second by then.
        yield* seconds(1, [b])
        assert.isTrue(yield* hears(b))
      }))

    it.effect("brings a change of the second back, and rings for it", () =>
      Effect.gen(function*() {
        const [a, b] = yield* twoOn(kind)
        away(a)
        yield* seconds(5, [a, b])
        yield* opens(a)
        assert.isFalse(yield* hears(b))
        back(a)
        yield* seconds(9, [a])
        assert.isTrue(yield* hears(b))
      }))

    it.effect("has circuits in both storages looked at in each interval", () =>
      Effect.gen(function*() {
        const [a, b] = yield* twoOn(kind)
        // Its disk is full.
        for (const { links: [first] } of [a, b]) {
          first.fault(failing("Unavailable"), "change")
          first.fault(
            (request) => Effect.suspend(() => writes(first) ? failing("Unavailable")(request) : request),
            "sync"
          )
        }
        yield* seconds(60, [a, b])
        yield* opens(a)
        assert.isTrue(yield* hears(b))
      }))
  })
}

/** Whether the last request has outcomes. */
const writes = ({ reports }: Link): boolean => (reports.at(-1)?.delta.lifetime.success ?? 0) > 0

const nullStorage = Effect.map(Layer.build(Null.layer), Context.get(Storage.Storage))

describe("a fallback to null", () => {
  it.effect("has bells, and no circuit is quiet while null answers", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory, RINGS)
      const storage = yield* Fallback.make([{ storage: link.storage }, { storage: yield* nullStorage }])
      assert.isTrue(storage.capabilities.bells)
      const breaker = yield* on(storage)
      const process = new Process([link, link], breaker)
      yield* seconds(40, [process])
      const reports = process.reports(0)
      yield* seconds(20, [process])
      assert.isAtMost(process.reports(0) - reports, 2)
      link.fault(failing("Unavailable"))
      yield* seconds(5, [process])
      link.fault(undefined)
      yield* seconds(60, [process])
      const later = process.reports(0)
      yield* seconds(20, [process])
      assert.isAtMost(process.reports(0) - later, 2)
    }))
})

describe("a migration that switches", () => {
  const goTo = (phase: Migration.Phase, { migration }: Process) => Effect.orDie(migration!.switchTo(phase))

  it.effect("is followed by instances that report nothing, which hear of what the new storage decides", () =>
    Effect.gen(function*() {
      const [a, b] = yield* twoOn("migration")
      yield* goTo("read-both-write-both", a)
      yield* seconds(2, [a, b])
      yield* goTo("read-new-write-both", a)
      yield* seconds(1, [b])
      assert.strictEqual(yield* SubscriptionRef.get(b.migration!.phase), "read-new-write-both")
      yield* opens(a)
      assert.isTrue(yield* hears(b))
      const polls = [b.sent(0, "bells"), b.sent(1, "bells")]
      yield* seconds(3, [b])
      assert.deepStrictEqual([b.sent(0, "bells"), b.sent(1, "bells")], [polls[0]!, polls[1]! + 3])
    }))

  it.effect("rings after it went back", () =>
    Effect.gen(function*() {
      const [a, b] = yield* twoOn("migration")
      for (const phase of ["read-both-write-both", "read-new-write-both", "read-both-write-both"] as const) {
        yield* goTo(phase, a)
        yield* seconds(2, [a, b])
      }
      yield* opens(a)
      assert.isTrue(yield* hears(b))
    }))

  it.effect("rings for an instance that missed two switches", () =>
    Effect.gen(function*() {
      const [a, b] = yield* twoOn("migration")
      for (const link of b.links) link.fault(failing("Unavailable"))
      for (const phase of ["read-both-write-both", "read-new-write-both"] as const) {
        yield* goTo(phase, a)
        yield* seconds(2, [a])
      }
      yield* opens(a)
      for (const link of b.links) link.fault(undefined)
      assert.isTrue(yield* hears(b))
    }))
})

describe("a fleet in regions", () => {
  it.effect("is silent, and a trip that is mirrored rings in the other region", () =>
    Effect.gen(function*() {
      const links = [new Link(yield* memory, RINGS), new Link(yield* memory, RINGS)] as const
      const regions = { eu: links[0].storage, us: links[1].storage }
      const [eu, us] = [yield* on(yield* Regions.make("eu", regions)), yield* on(yield* Regions.make("us", regions))]
      const [a, b] = [new Process(links, eu), new Process([links[1], links[0]], us)]
      yield* seconds(40, [a, b])
      const reports = b.reports(0)
      yield* seconds(20, [a, b])
      assert.isAtMost(b.reports(0) - reports, 2)
      yield* opens(a)
      assert.isTrue(yield* hears(b))
    }))
})
