import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Metric, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import { circuitOf, failures, FORCED, HOUR, ignored, reasonOf } from "../../src/conformance/Law.ts"
import { Storage } from "../../src/index.ts"
import { messages } from "../../src/internal/Messages.ts"
import * as Fallback from "../../src/Storage/Fallback.ts"
import * as NullStorage from "../../src/Storage/Null.ts"
import type * as Service from "../../src/Storage/Storage.ts"
import { failing, failingAsForeign, hanging, Link, lostReply, memory, slow } from "../support/storages.ts"
import { failTimes, rejectionOf, untilQuiet, withReports } from "../utils.ts"

/** A chain of storages with these deadlines, the first two durable. */
const chainOf = (...deadlines: ReadonlyArray<number | undefined>) =>
  Effect.gen(function*() {
    const links: Array<Link> = []
    for (const [i, _] of deadlines.entries()) {
      links.push(new Link({ ...(yield* memory), backend: "abc"[i]! }, { durable: i < 2 }))
    }
    const [first, ...rest] = links.map(({ storage }, i) => ({ storage, deadline: deadlines[i] }))
    const chain = yield* Fallback.make([first!, ...rest])
    const events: Array<string> = []
    yield* Effect.forkScoped(
      Stream.runForEach(chain.events, (event) => Effect.sync(() => events.push(inBrief(event)))),
      { startImmediately: true }
    )
    return {
      links,
      chain,
      events,
      circuit: circuitOf(chain, "c"),
      at: links.map(({ storage }) => circuitOf(storage, "c"))
    }
  })

const inBrief = (event: Fallback.ChainEvent): string => {
  switch (event._tag) {
    case "Fallback":
      return `${event.operation}: ${event.from} > ${event.to}: ${event.error.reason}`
    case "Reconciled":
      return `${event.circuits} reconciled, ${event.forward} forward, ${event.back} back, ${event.failed} failed`
    default:
      return `${event._tag} ${event.backend}`
  }
}

/** The override or the state of each circuit. */
const states = (circuits: ReadonlyArray<ReturnType<typeof circuitOf>>) =>
  Effect.forEach(circuits, ({ read }) => Effect.map(read, ({ override, state }) => override?.kind ?? state._tag))

const generations = (circuits: ReadonlyArray<ReturnType<typeof circuitOf>>) =>
  Effect.forEach(circuits, ({ read }) => Effect.map(read, ({ generation }) => generation))

/** Waits without calls until background work is done. */
const quiet = Effect.andThen(untilQuiet, Effect.andThen(TestClock.adjust("1 second"), untilQuiet))

describe("a fallback chain whose first storage answers", () => {
  it.effect("a fallback chain sends requests to its first storage only, and copies changes to durable ones", () =>
    Effect.gen(function*() {
      const { at, circuit, events, links } = yield* chainOf(undefined, undefined, undefined)
      yield* circuit.report(failures(2))
      assert.deepStrictEqual(links.map(({ sent }) => sent.length > 0), [true, false, false])
      yield* circuit.open()
      yield* circuit.operate({ _tag: "Override", ...FORCED })
      yield* untilQuiet
      assert.deepStrictEqual(yield* states(at), ["ForcedOpen", "ForcedOpen", "Closed"])
      const [first, second] = yield* generations(at)
      assert.strictEqual(first, second)
      assert.deepStrictEqual(events, [])
    }))

  it.effect("a fallback chain copies changes of other processes that it reads", () =>
    Effect.gen(function*() {
      const { at, circuit } = yield* chainOf(undefined, undefined)
      yield* at[0]!.open()
      yield* circuit.read
      yield* untilQuiet
      assert.deepStrictEqual(yield* states(at), ["Open", "Open"])
    }))

  it.effect("a fallback chain copies the newest change of a circuit once the other storage answers", () =>
    Effect.gen(function*() {
      const { at, circuit, links } = yield* chainOf(undefined, undefined)
      links[1]!.fault(failing("Unavailable"))
      yield* circuit.open()
      yield* circuit.operate({ _tag: "Reset" })
      yield* quiet
      links[1]!.fault(undefined)
      yield* TestClock.adjust("10 seconds")
      yield* untilQuiet
      assert.deepStrictEqual(yield* states(at), ["Closed", "Closed"])
      assert.strictEqual(new Set(yield* generations(at)).size, 1)
    }))
})

describe("a storage of a fallback chain that does not answer", () => {
  it.effect("a storage that does not answer is given up at its deadline, and the next one is sent the request", () =>
    Effect.gen(function*() {
      const { circuit, events, links } = yield* chainOf(50, 20, undefined)
      links[0]!.fault(hanging)
      links[1]!.fault(hanging)
      const fiber = yield* Effect.forkChild(circuit.read, { startImmediately: true })
      yield* TestClock.adjust("69 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* untilQuiet
      assert.isDefined(fiber.pollUnsafe())
      assert.deepStrictEqual(events, ["sync: a > b: Deadline", "sync: b > c: Deadline"])
    }))

  it.effect("a storage that does not answer has an equal share of the budget when it has no deadline", () =>
    Effect.gen(function*() {
      const { circuit, links } = yield* chainOf(undefined, undefined, undefined)
      links[0]!.fault(hanging)
      links[1]!.fault(hanging)
      const fiber = yield* Effect.forkChild(circuit.read, { startImmediately: true })
      yield* TestClock.adjust("599 millis")
      yield* untilQuiet
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* untilQuiet
      assert.isDefined(fiber.pollUnsafe())
    }))

  it.effect("a storage that does not answer is given up at its deadline although the request ignores its interruption", () =>
    Effect.gen(function*() {
      const { circuit, links } = yield* chainOf(50, undefined)
      links[0]!.fault(() => Effect.uninterruptible(Effect.never))
      const fiber = yield* Effect.forkChild(circuit.read, { startImmediately: true })
      yield* TestClock.adjust("50 millis")
      yield* untilQuiet
      assert.isDefined(fiber.pollUnsafe())
    }))

  it.effect("a storage that does not answer is sent a new request only after growing pauses while 16 requests ignore their interruption", () =>
    Effect.gen(function*() {
      const { circuit, links } = yield* chainOf(undefined, undefined)
      let resume = () => {}
      const resumed = new Promise<void>((resolve) => resume = resolve)
      links[0]!.fault(failing("Unavailable"))
      links[1]!.fault((request) => Effect.uninterruptible(Effect.andThen(Effect.promise(() => resumed), request)))
      for (let i = 0; i < 50; i++) {
        const fiber = yield* Effect.forkChild(Effect.exit(circuit.read), { startImmediately: true })
        yield* TestClock.adjust("900 millis")
        yield* untilQuiet
        assert.isDefined(fiber.pollUnsafe())
      }
      assert.strictEqual(links[1]!.sent.length, 16 + 4)
      resume()
      yield* Effect.promise(() => resumed)
      yield* untilQuiet
      yield* circuit.read
    }))

  it.effect("a storage that does not answer is skipped after three failures in a row, and probed after 1, 2, 4, … up to 30 seconds", () =>
    Effect.gen(function*() {
      const { circuit, events, links } = yield* chainOf(undefined, undefined)
      const [first] = links
      first!.fault(failing("Unavailable"))
      const tried: Array<number> = []
      for (let second = 0; second < 120; second++) {
        first!.sent.length = 0
        for (let i = 0; i < 5; i++) yield* circuit.read
        if (first!.sent.length > 0) tried.push(second)
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual(tried, [0, 1, 3, 7, 15, 31, 61, 91])
      assert.deepStrictEqual(events.slice(0, 4), [
        ...Array.from({ length: 2 }, () => "sync: a > b: Unavailable"),
        "Down a",
        "sync: a > b: Unavailable"
      ])
    }))

  it.effect("the last storage of a fallback chain is still sent requests while it does not answer", () =>
    Effect.gen(function*() {
      const { circuit, links } = yield* chainOf(undefined, undefined)
      for (const link of links) link.fault(failing("Unavailable"))
      for (let i = 0; i < 10; i++) yield* Effect.flip(circuit.read)
      links[1]!.fault(undefined)
      yield* circuit.read
    }))

  it.effect("a storage is used again when it answers, although earlier requests never end", () =>
    Effect.gen(function*() {
      const { circuit, links } = yield* chainOf(undefined)
      links[0]!.fault(() => Effect.uninterruptible(Effect.never))
      for (let i = 0; i < 20; i++) {
        yield* Effect.forkChild(Effect.exit(circuit.read), { startImmediately: true })
        yield* TestClock.adjust("1 second")
      }
      links[0]!.fault(undefined)
      yield* TestClock.adjust("10 seconds")
      yield* circuit.read
    }))

  it.effect("a storage with its own copy of this library is judged by the tag of its errors", () =>
    Effect.gen(function*() {
      const { circuit, events, links } = yield* chainOf(undefined, undefined)
      links[0]!.fault(failingAsForeign("Unavailable"))
      yield* circuit.read
      assert.deepStrictEqual(events, ["sync: a > b: Unavailable"])
      links[0]!.fault(failingAsForeign("Denied"))
      assert.strictEqual(yield* reasonOf(circuit.operate({ _tag: "Reset" })), "Denied")
      links[0]!.fault(failingAsForeign("Invalid"))
      assert.strictEqual(yield* reasonOf(circuit.read), "Invalid")
    }))

  it.effect("a storage that does not answer adds to the fallbacks metric by from, to and reason, also while it is skipped", () =>
    Effect.gen(function*() {
      const { circuit, links } = yield* chainOf(undefined, undefined)
      links[0]!.fault(failing("Unavailable"))
      for (let i = 0; i < 5; i++) yield* circuit.read
      const counted = (yield* Metric.snapshot).flatMap(({ attributes, id, state }) =>
        id === "circuit_breaker.persistence.fallbacks" ? [{ ...attributes, ...state }] : []
      )
      assert.sameDeepMembers(
        counted.map(({ from, reason, to, ...state }: any) => [from, to, reason, Number(state.count)]),
        [
          ["a", "b", "Unavailable", 3],
          ["a", "b", "Skipped", 2]
        ]
      )
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("a storage that does not answer is logged as a warning once until it answers", () =>
    withReports((logged) =>
      Effect.gen(function*() {
        const { circuit, links } = yield* chainOf(undefined, undefined)
        for (const fault of [failing("Unavailable"), undefined, failing("Denied")]) {
          links[0]!.fault(fault)
          for (let i = 0; i < 4; i++) yield* circuit.read
          yield* TestClock.adjust("1 minute")
          yield* circuit.read
          yield* untilQuiet
        }
        assert.deepStrictEqual(logged.map(({ level, message }) => `${level} ${message}`), [
          `Warn ${messages.fallback.text}`,
          `Warn ${messages.storageSkipped.text}`,
          `Info ${messages.storageBack.text}`,
          `Warn ${messages.fallback.text}`,
          `Warn ${messages.storageSkipped.text}`
        ])
      })
    ))

  it.effect("a storage that does not answer for some circuits of a batch still decides on the others", () =>
    Effect.gen(function*() {
      const { links } = yield* chainOf(undefined, undefined)
      const [first] = links
      const storage = first!.storage
      // A Redis Cluster with one node down fails some circuits like this.
      const half: Service.Storage = {
        ...storage,
        sync: (reports) =>
          Effect.map(storage.sync(reports), (synced) =>
            synced.map((one) =>
              one.circuit === "x"
                ? {
                  ...one,
                  result: Result.fail(new Storage.StorageError({ operation: "sync", reason: "Unavailable", cause: "" }))
                }
                : one
            ))
      }
      const partly = yield* Fallback.make([{ storage: half }, { storage: links[1]!.storage }])
      yield* circuitOf(storage, "y").open()
      yield* circuitOf(links[1]!.storage, "x").open()
      yield* circuitOf(links[1]!.storage, "y").operate({ _tag: "Reset" })
      const answers = yield* partly.sync(
        ["x", "y"].map((circuit) => ({
          circuit,
          instance: "i",
          sequence: 1,
          generation: 0,
          delta: ignored(0),
          withins: []
        }))
      )
      assert.deepStrictEqual(
        answers.map(({ circuit, result }) => [circuit, Result.getOrThrow(result).snapshot.state._tag]),
        [["x", "Open"], ["y", "Open"]]
      )
    }))

  it.effect("a storage that answers Invalid, or Denied to an operation, is not replaced", () =>
    Effect.gen(function*() {
      const { chain, circuit, links } = yield* chainOf(undefined, undefined)
      links[0]!.fault(failing("Invalid"))
      assert.strictEqual(yield* reasonOf(circuit.read), "Invalid")
      links[0]!.fault(failing("Denied"))
      assert.strictEqual(yield* reasonOf(circuit.operate({ _tag: "Reset" })), "Denied")
      assert.deepStrictEqual(links[1]!.sent, [])
      assert.strictEqual(chain.backend, "fallback(a, b)")
    }))

  it.effect("a fallback chain without an answer fails with the last error, and with all errors as its cause", () =>
    Effect.gen(function*() {
      const { circuit, links } = yield* chainOf(undefined, undefined)
      links[0]!.fault(failing("Unavailable"))
      links[1]!.fault(failing("Deadline"))
      const { cause, reason } = (yield* Effect.flip(circuit.open())) as Storage.StorageError
      assert.strictEqual(reason, "Deadline")
      assert.deepStrictEqual((cause as AggregateError).errors.map(({ reason }) => reason), ["Unavailable", "Deadline"])
    }))
})

describe("a storage of a fallback chain that answers again", () => {
  it.effect("a storage that answers again decides on a circuit only after it has the changes of the others", () =>
    Effect.gen(function*() {
      const { at, circuit, events, links } = yield* chainOf(undefined, undefined)
      yield* circuit.report(failures(1))
      links[0]!.fault(failing("Unavailable"))
      yield* circuit.open()
      links[0]!.fault(undefined)
      const seen = yield* circuit.read
      assert.strictEqual(seen.state._tag, "Open")
      assert.deepStrictEqual(yield* states(at), ["Open", "Open"])
      assert.strictEqual(new Set(yield* generations(at)).size, 1)
      assert.include(events, "sync: a > b: Unavailable")
    }))

  it.effect("a storage that answers again has the changes of each that answered meanwhile, and not only of the last", () =>
    Effect.gen(function*() {
      const { at, circuit, links } = yield* chainOf(undefined, undefined, undefined)
      links[0]!.fault(failing("Unavailable"))
      yield* circuit.operate({ _tag: "Override", ...FORCED })
      links[1]!.fault(failing("Unavailable"))
      assert.strictEqual((yield* circuit.read).override, undefined)
      for (const link of links) link.fault(undefined)
      assert.strictEqual((yield* circuit.read).override?.kind, "ForcedOpen")
      assert.deepStrictEqual(yield* states(at.slice(0, 2)), ["ForcedOpen", "ForcedOpen"])
    }))

  it.effect("a storage that missed one request gets what another decided meanwhile, though no call uses the circuit", () =>
    Effect.gen(function*() {
      const { at, circuit, links } = yield* chainOf(undefined, undefined)
      links[0]!.fault(failing("Deadline"))
      yield* circuit.operate({ _tag: "Override", ...FORCED })
      links[0]!.fault(undefined)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* states(at), ["ForcedOpen", "ForcedOpen"])
    }))

  it.effect("a storage that answers again keeps its own change when that is newer, and the others get it", () =>
    Effect.gen(function*() {
      const { at, circuit, links } = yield* chainOf(undefined, undefined)
      links[0]!.fault(failing("Unavailable"))
      yield* circuit.open()
      links[0]!.fault(undefined)
      yield* TestClock.adjust("1 second")
      // Another process, whose link to the storage never failed, makes the newer change.
      yield* at[0]!.operate({ _tag: "Override", ...FORCED })
      assert.strictEqual((yield* circuit.read).override?.kind, "ForcedOpen")
      assert.deepStrictEqual(yield* states(at), ["ForcedOpen", "ForcedOpen"])
    }))

  it.effect("a storage that answers again stays open although the others have closed the circuit", () =>
    Effect.gen(function*() {
      const { at, circuit, links } = yield* chainOf(undefined, undefined)
      yield* at[0]!.open()
      links[0]!.fault(failing("Unavailable"))
      yield* TestClock.adjust("1 second")
      yield* circuit.operate({ _tag: "Reset" })
      links[0]!.fault(undefined)
      assert.strictEqual((yield* circuit.read).state._tag, "Open")
      yield* untilQuiet
      assert.deepStrictEqual(yield* states(at), ["Open", "Open"])
      assert.strictEqual(new Set(yield* generations(at)).size, 1)
    }))

  it.effect("a storage that answers again is used again although the others are slow and many reports are pending", () =>
    Effect.gen(function*() {
      const { at, circuit, events, links } = yield* chainOf(20, undefined)
      const through = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
          for (let i = 0; i < 1000 && fiber.pollUnsafe() === undefined; i++) {
            yield* TestClock.adjust("1 millis")
            yield* untilQuiet
          }
          return yield* Fiber.join(fiber)
        })
      // Each request takes as long as the deadline of the first storage, or longer.
      links[1]!.fault(slow(60))
      links[0]!.fault(lostReply)
      for (let i = 0; i < 12; i++) {
        yield* through(circuit.report(failures(1)))
        yield* TestClock.adjust("40 seconds")
      }
      yield* through(circuit.open({ openFor: HOUR, maxOpenFor: HOUR }))
      links[0]!.fault(slow(15))
      yield* TestClock.adjust("1 minute")
      for (let i = 0; i < 10; i++) {
        yield* through(circuit.read)
        yield* TestClock.adjust("1 second")
        yield* untilQuiet
      }
      links[0]!.fault(undefined)
      assert.include(events, "Up a")
      assert.deepStrictEqual(yield* states([at[0]!]), ["Open"])
      yield* through(circuit.report(failures(1)))
      assert.strictEqual((yield* at[0]!.read).lifetime.failure, 13)
    }))

  it.effect("a storage that answers again gets the circuits that no call uses in the background", () =>
    Effect.gen(function*() {
      const { chain, events, links } = yield* chainOf(undefined, undefined)
      links[0]!.fault(failing("Unavailable"))
      const names = Array.from({ length: 250 }, (_, i) => `n${i}`)
      yield* Effect.forEach(names, (name) => circuitOf(chain, name).open())
      links[0]!.fault(undefined)
      yield* TestClock.adjust("1 minute")
      yield* circuitOf(chain, "n0").read
      yield* untilQuiet
      const there = yield* Effect.forEach(names, (name) => circuitOf(links[0]!.storage, name).read)
      assert.isTrue(there.every(({ state }) => state._tag === "Open"))
      assert.strictEqual(events.at(-1), "249 reconciled, 249 forward, 0 back, 0 failed")
    }))

  it.effect("a storage that answers again counts each call once, also those that only the others have counted", () =>
    Effect.gen(function*() {
      const { at, circuit, links } = yield* chainOf(20, undefined)
      yield* circuit.report(failures(1))
      // Counted, but the answer is lost.
      links[0]!.fault(lostReply)
      const fiber = yield* Effect.forkChild(circuit.report(failures(2)), { startImmediately: true })
      yield* TestClock.adjust("20 millis")
      yield* TestClock.adjust("20 millis")
      yield* Fiber.join(fiber)
      links[0]!.fault(failing("Unavailable"))
      for (let i = 0; i < 6; i++) yield* circuit.report(failures(4))
      links[0]!.fault(undefined)
      yield* TestClock.adjust("1 minute")
      yield* circuit.report(failures(8))
      assert.strictEqual((yield* at[0]!.read).lifetime.failure, 1 + 2 + 6 * 4 + 8)
    }))

  it.effect("a storage that answers again does not get changes that it has forgotten, but those that it has lost", () =>
    Effect.gen(function*() {
      const { at, circuit, links } = yield* chainOf(undefined, undefined)
      yield* at[1]!.operate({ _tag: "Override", ...FORCED })
      yield* TestClock.adjust(2 * HOUR)
      links[0]!.fault(failing("Unavailable"))
      yield* circuit.read
      links[0]!.fault(undefined)
      assert.strictEqual((yield* circuit.read).override, undefined)
    }))
})

describe("breakers on a fallback chain", () => {
  const never = { _tag: "ConsecutiveFailures", failures: 1000 } as const
  const policy = { trip: { _tag: "ConsecutiveFailures", failures: 2 }, openFor: "30 seconds", evidence: "any" } as const

  it.effect("breakers on a fallback chain keep their circuits open when the first storage fails and when it answers again", () =>
    Effect.gen(function*() {
      const { chain, links } = yield* chainOf(50, undefined)
      const link = new Link(chain, chain.capabilities)
      const breaker = yield* link.make("c", policy)
      yield* failTimes(breaker, 2)
      yield* quiet
      links[0]!.fault(hanging)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* breaker.state, "Open")
      // A process that starts now reads it, too.
      const late = yield* new Link(chain, chain.capabilities).make("c", policy)
      const refused = yield* Effect.forkChild(Effect.flip(late.wrap(Effect.void)), { startImmediately: true })
      yield* TestClock.adjust("200 millis")
      assert.strictEqual((yield* Fiber.join(refused))._tag, "BreakerOpenError")
      links[0]!.fault(undefined)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(yield* breaker.state, "Open")
      yield* TestClock.adjust("20 seconds")
      const probed = yield* Effect.forkChild(breaker.wrap(Effect.succeed("up")), { startImmediately: true })
      yield* TestClock.adjust("200 millis")
      assert.strictEqual(yield* Fiber.join(probed), "up")
      yield* quiet
      assert.strictEqual(yield* breaker.state, "Closed")
      assert.strictEqual((yield* circuitOf(links[0]!.storage, "c").read).state._tag, "Closed")
    }))

  it.effect("breakers on a fallback chain that ends in null let calls through when no other storage answers", () =>
    Effect.gen(function*() {
      const first = new Link(yield* memory)
      const null_ = yield* Effect.provide(Storage.Storage, NullStorage.layer)
      const chain = yield* Fallback.make([{ storage: first.storage }, { storage: null_ }])
      const link = new Link(chain, chain.capabilities)
      const strict = { ...policy, consistency: "strict", onStorageError: "fail" } as const
      const breaker = yield* link.make("c", strict)
      yield* failTimes(breaker, 2)
      assert.strictEqual((yield* Effect.flip(breaker.wrap(Effect.void)))._tag, "BreakerOpenError")
      first.fault(failing("Unavailable"))
      yield* quiet
      assert.strictEqual(yield* breaker.wrap(Effect.succeed("through")), "through")
      first.fault(undefined)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Effect.flip(breaker.wrap(Effect.void)))._tag, "BreakerOpenError")
    }))

  it.effect("breakers on a fallback chain that ends in null keep a circuit open when the others are late but not down", () =>
    Effect.gen(function*() {
      const links = [new Link(yield* memory), new Link(yield* memory)] as const
      const null_ = yield* Effect.provide(Storage.Storage, NullStorage.layer)
      const chain = yield* Fallback.make([{ storage: links[0].storage }, { storage: links[1].storage }, {
        storage: null_
      }])
      const breaker = yield* new Link(chain, chain.capabilities).make("c", policy)
      yield* failTimes(breaker, 2)
      yield* quiet
      for (const link of links) link.fault(failing("Deadline"))
      yield* quiet
      // Null answered the look with a closed circuit, and nobody took the open one back.
      assert.deepStrictEqual(links[1].sent, ["sync", "change"])
      yield* rejectionOf(breaker)
    }))

  it.effect("breakers on a fallback chain lose no outcome when null, which has no clock, answered in between (F9)", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("30 days")
      const first = new Link(yield* memory)
      const null_ = yield* Effect.provide(Storage.Storage, NullStorage.layer)
      const chain = yield* Fallback.make([{ storage: first.storage }, { storage: null_ }])
      const breaker = yield* new Link(chain, chain.capabilities).make("c", { ...policy, trip: never })
      const fail = Effect.andThen(failTimes(breaker, 1), TestClock.adjust("2 seconds"))
      yield* fail
      first.fault(failing("Unavailable"))
      yield* fail
      first.fault(undefined)
      yield* fail
      yield* fail
      const { fleet } = yield* breaker.snapshot
      assert.strictEqual(fleet!.lost, 0)
      assert.strictEqual(fleet!.waiting, 0)
      assert.isAtLeast((yield* circuitOf(first.storage, "c").read).lifetime.failure, 3)
    }))
})

describe("the options of a fallback chain", () => {
  const one = { storage: Storage.MemoryStorageLive }
  const refusals: Record<string, readonly [() => unknown, string]> = {
    "without a storage": [
      () => Storage.fallback([] as never),
      "Storage \"fallback\": hops must be at least one storage, got []"
    ],
    "with a deadline of 0": [
      () => Storage.fallback([one, { ...one, deadline: 0 }]),
      "Storage \"fallback\": hops[1].deadline must be a finite duration from 1 ms to 900 ms, got 0"
    ],
    "with deadlines beyond the budget": [
      () => Storage.fallback([{ ...one, deadline: 500 }, { ...one, deadline: "1 second" }], { budget: "1 second" }),
      "Storage \"fallback\": the deadlines' sum must be at most the budget, 1000 ms, got 1500"
    ],
    "with a budget of NaN": [
      () => Storage.fallback([one], { budget: NaN }),
      "Storage \"fallback\": budget must be a finite duration from 1 ms to 3600000 ms, got NaN"
    ]
  }
  for (const [what, [make, message]] of Object.entries(refusals)) {
    it(`a fallback chain ${what} throws a RangeError`, () => assert.throws(make, RangeError, message))
  }

  it.effect("onEvent of a fallback chain is called for each event, and its errors are ignored", () =>
    Effect.gen(function*() {
      const received: Array<string> = []
      const link = new Link({ ...(yield* memory), backend: "a" })
      link.fault(failing("Unavailable"))
      const chain = yield* Fallback.make([{ storage: link.storage }, { storage: yield* memory }], {
        onEvent: (event) => Effect.andThen(Effect.sync(() => received.push(inBrief(event))), Effect.fail("a bug"))
      })
      yield* circuitOf(chain, "c").read
      yield* circuitOf(chain, "c").read
      yield* untilQuiet
      assert.deepStrictEqual(received, ["sync: a > memory: Unavailable", "sync: a > memory: Unavailable"])
    }))
})
