/**
 * One law for everything in front of a storage. A storage that does not answer, or says `Unavailable`, `Deadline` or
 * `Denied`, is away: the next one is asked, and it gets what it missed once it answers. `Invalid`, and an operation that
 * is refused, are answers about one circuit.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Result, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { circuitOf, failures, FORCED, reasonOf } from "../../src/conformance/Law.ts"
import { REFUSED_OPERATION } from "../../src/core/Change.ts"
import { Storage } from "../../src/index.ts"
import { messages } from "../../src/internal/Messages.ts"
import { errorOf } from "../../src/internal/StorageErrors.ts"
import * as Fallback from "../../src/Storage/Fallback.ts"
import * as Migration from "../../src/Storage/Migration.ts"
import * as Mirror from "../../src/Storage/Mirror.ts"
import * as Regions from "../../src/Storage/Regions.ts"
import type * as Service from "../../src/Storage/Storage.ts"
import { failing, type Fault, Link, memory } from "../support/storages.ts"
import { untilQuiet, withReports } from "../utils.ts"

const interrupting: Fault = () => Effect.interrupt
const dying: Fault = () => Effect.die("bug")

/** The ways in which a storage is away. */
const away: Readonly<Record<string, Fault>> = {
  Unavailable: failing("Unavailable"),
  Deadline: failing("Deadline"),
  Denied: failing("Denied"),
  "a defect": dying,
  "an interruption": interrupting
}

const refusing: Fault = () =>
  Effect.fail(new Storage.StorageError({ operation: "change", reason: "Denied", cause: REFUSED_OPERATION }))

const links = Effect.map(
  Effect.all([memory, memory]),
  ([a, b]) =>
    [new Link({ ...a, backend: "a" }, { durable: true }), new Link({ ...b, backend: "b" }, { durable: true })] as const
)

const later = Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), untilQuiet), { times: 3 })

const view = (link: Link) => circuitOf(link.storage, "c").read

/** A report of each of these circuits. */
const reports = (circuits: ReadonlyArray<string>, sequence: number): ReadonlyArray<Service.CircuitReport> =>
  circuits.map((circuit) => ({
    circuit,
    instance: "i",
    sequence,
    generation: 0,
    delta: failures(1),
    withins: []
  }))

/** The storage, with circuits whose names begin with "x" unreachable: a cluster with one of its servers away. */
const withoutX = (storage: Service.Storage): Service.Storage => {
  const isAway = (circuit: string) => circuit.startsWith("x")
  const gone = new Storage.StorageError({ operation: "x", reason: "Unavailable", cause: "a server is away" })
  return {
    ...storage,
    sync: (reports) =>
      Effect.map(
        storage.sync(reports.filter(({ circuit }) => !isAway(circuit))),
        (synced) => {
          const answers = [...synced]
          return reports.map(({ circuit }) =>
            isAway(circuit) ? { circuit, result: Result.fail(gone) } : answers.shift()!
          )
        }
      ),
    change: (circuit, change) => isAway(circuit) ? Effect.fail(gone) : storage.change(circuit, change),
    probe: (circuit, probe) => isAway(circuit) ? Effect.fail(gone) : storage.probe(circuit, probe)
  }
}

describe("a chain", () => {
  for (const [reason, fault] of Object.entries(away)) {
    it.effect(`a chain goes on to the next storage after ${reason} of anything but an operation (R6)`, () =>
      Effect.gen(function*() {
        const [a, b] = yield* links
        const circuit = circuitOf(yield* Fallback.make([{ storage: a.storage }, { storage: b.storage }]), "c")
        a.fault(fault)
        yield* circuit.read
        yield* circuit.report(failures(1))
        yield* circuit.open()
        assert.strictEqual((yield* circuit.ask("i")).granted, false)
        assert.strictEqual((yield* view(b)).state._tag, "Open")
        // An act that one storage does not permit must not be done on another, nor while the one is skipped.
        for (const pause of ["0 seconds", "1 minute"] as const) {
          yield* TestClock.adjust(pause)
          const act = circuit.operate({ _tag: "Override", ...FORCED })
          if (reason === "Denied") assert.strictEqual(yield* reasonOf(act), "Denied")
          else yield* act
        }
        a.fault(undefined)
        yield* TestClock.adjust("1 minute")
        yield* circuit.report(failures(1), { sequence: 2 })
        yield* later
        const seen = yield* view(a)
        assert.strictEqual(seen.state._tag, "Open")
        assert.strictEqual(seen.lifetime.failure, 2)
        assert.strictEqual(seen.override?.kind, reason === "Denied" ? undefined : "ForcedOpen")
      }))
  }

  it.effect("a chain takes Invalid for an answer, and never for an outage (R6)", () =>
    Effect.gen(function*() {
      const [a, b] = yield* links
      const circuit = circuitOf(yield* Fallback.make([{ storage: a.storage }, { storage: b.storage }]), "c")
      a.fault(failing("Invalid"))
      for (let i = 0; i < 10; i++) {
        assert.strictEqual(yield* reasonOf(circuit.read), "Invalid")
        assert.strictEqual(yield* reasonOf(circuit.report(failures(1))), "Invalid")
        assert.strictEqual(yield* reasonOf(circuit.open()), "Invalid")
      }
      assert.strictEqual(a.sent.length, 30)
      assert.deepStrictEqual(b.sent, [])
    }))

  it.effect("a chain lists what the next storage has after a storage that named a part, each circuit once (R1)", () =>
    Effect.gen(function*() {
      const [a, b] = yield* links
      for (const name of ["x", "y"]) yield* circuitOf(b.storage, name).open()
      const list = Stream.concat(
        Stream.make("x", "z"),
        Stream.fail(new Storage.StorageError({ operation: "list", reason: "Unavailable", cause: "cut off" }))
      )
      const chain = yield* Fallback.make([{ storage: { ...a.storage, list } }, { storage: b.storage }])
      assert.deepStrictEqual((yield* Stream.runCollect(chain.list)).toSorted(), ["x", "y", "z"])
    }))

  it.effect("a chain uses a storage for the circuits that it answers for, with one warning for those it does not (R1)", () =>
    withReports((logged) =>
      Effect.gen(function*() {
        const [a, b] = yield* links
        const chain = yield* Fallback.make([{ storage: withoutX(a.storage) }, { storage: b.storage }])
        for (let sequence = 1; sequence <= 90; sequence++) {
          const synced = yield* chain.sync(reports(["x1", "y", "x2"], sequence))
          assert.isTrue(synced.every(({ result }) => Result.isSuccess(result)))
          yield* circuitOf(chain, "y").read
          yield* TestClock.adjust("1 second")
        }
        assert.strictEqual((yield* circuitOf(a.storage, "y").read).lifetime.failure, 90)
        assert.strictEqual((yield* circuitOf(b.storage, "x1").read).lifetime.failure, 90)
        const told = logged.filter(({ level }) => level !== "Debug").map(({ message }) => message)
        assert.deepStrictEqual(told, [messages.fallback.text])
      })
    ))
})

describe("what follows the storage that decides", () => {
  for (const [reason, fault] of Object.entries(away)) {
    it.effect(`a mirror brings a copy up to date after ${reason}, without a restart (R6)`, () =>
      Effect.gen(function*() {
        const [a, b] = yield* links
        const circuit = circuitOf(yield* Mirror.make([{ storage: a.storage }, { storage: b.storage }]), "c")
        b.fault(fault)
        for (let sequence = 1; sequence <= 5; sequence++) yield* circuit.report(failures(1), { sequence })
        yield* circuit.open()
        yield* later
        b.fault(undefined)
        yield* TestClock.adjust("1 minute")
        yield* later
        assert.strictEqual((yield* view(b)).generation, (yield* view(a)).generation)
        assert.strictEqual((yield* view(b)).lifetime.failure, 5)
      }))

    it.effect(`a migration brings the storage that follows up to date after ${reason}, without a restart (R6)`, () =>
      Effect.gen(function*() {
        const [a, b] = yield* links
        const { storage } = yield* Migration.make({ name: "m", from: a.storage, to: b.storage })
        const circuit = circuitOf(storage, "c")
        b.fault(fault)
        for (let sequence = 1; sequence <= 5; sequence++) yield* circuit.report(failures(1), { sequence })
        yield* circuit.open()
        yield* later
        b.fault(undefined)
        yield* TestClock.adjust("1 minute")
        yield* later
        assert.strictEqual((yield* view(b)).generation, (yield* view(a)).generation)
        assert.strictEqual((yield* view(b)).lifetime.failure, 5)
      }))

    it.effect(`a regional storage mirrors trips and operations after ${reason} of a region, without a restart (R6)`, () =>
      Effect.gen(function*() {
        const [a, b] = yield* links
        const circuit = circuitOf(yield* Regions.make("a", { a: a.storage, b: b.storage }), "c")
        b.fault(fault)
        yield* circuit.open()
        yield* circuit.operate({ _tag: "Override", ...FORCED })
        yield* later
        b.fault(undefined)
        yield* TestClock.adjust("1 minute")
        yield* later
        const seen = yield* view(b)
        assert.deepStrictEqual([seen.state._tag, seen.override?.kind], ["Open", "ForcedOpen"])
      }))
  }

  it.effect("a region that refuses operations on some circuits still gets the changes of the others (R1)", () =>
    withReports((logged) =>
      Effect.gen(function*() {
        const [a, b] = yield* links
        const there: Service.Storage = {
          ...b.storage,
          change: (circuit, change) =>
            circuit.startsWith("x") ? refusing(b.storage.change(circuit, change)) : b.storage.change(circuit, change)
        }
        const storage = yield* Regions.make("a", { a: a.storage, b: there })
        for (let i = 0; i < 10; i++) yield* circuitOf(storage, `x${i}`).operate({ _tag: "Override", ...FORCED })
        yield* circuitOf(storage, "c").operate({ _tag: "Override", ...FORCED })
        yield* untilQuiet
        assert.strictEqual((yield* view(b)).override?.kind, "ForcedOpen")
        assert.deepStrictEqual(logged, [])
      })
    ))

  it.effect("a migration sends the reports of other circuits while a storage has not counted those of one (R1)", () =>
    Effect.gen(function*() {
      const [a, b] = yield* links
      let to = withoutX(b.storage)
      const options = { name: "m", from: a.storage, initial: "read-both-write-both" } as const
      const operated = yield* Migration.make({ ...options, to: b.storage })
      const { storage } = yield* Migration.make({
        ...options,
        to: {
          ...b.storage,
          sync: (reports) => to.sync(reports),
          change: (circuit, change) => to.change(circuit, change)
        }
      })
      const send = (sequence: number) =>
        Effect.map(
          storage.sync(reports(["x", "y"], sequence)),
          (synced) => synced.map(({ circuit, result }) => [circuit, result._tag])
        )
      yield* send(1)
      yield* untilQuiet
      yield* operated.migration.switchTo("read-new-write-both")
      // The answer has the new phase.
      yield* send(2)
      assert.deepStrictEqual(yield* send(3), [["x", "Failure"], ["y", "Success"]])
      to = b.storage
      assert.deepStrictEqual(yield* send(4), [["x", "Success"], ["y", "Success"]])
    }))

  it.effect("a mirror compares the circuits that it can name when one storage cannot name all of its circuits (R1)", () =>
    Effect.gen(function*() {
      const [a, b] = yield* links
      yield* circuitOf(b.storage, "only there").operate({ _tag: "Override", ...FORCED })
      const list = Stream.fail(new Storage.StorageError({ operation: "list", reason: "Unavailable", cause: "cut off" }))
      const mirror = yield* Mirror.make([{ storage: { ...a.storage, list } }, { storage: b.storage }])
      yield* later
      assert.strictEqual((yield* circuitOf(a.storage, "only there").read).override?.kind, "ForcedOpen")
      assert.strictEqual((yield* Effect.flip(mirror.repair)).reason, "Unavailable")
    }))
})

describe("an interruption", () => {
  it("a request that is interrupted on the storage's side is Unavailable (S12)", () => {
    const named = { operation: "sync", circuit: "c" }
    const interrupted = errorOf(named, Cause.interrupt(1))
    assert.deepInclude(interrupted, { ...named, reason: "Unavailable" })
    const failed = new Storage.StorageError({ operation: "sync", reason: "Invalid", cause: "x" })
    assert.strictEqual(errorOf(named, Cause.fail(failed)), failed)
    assert.strictEqual(errorOf(named, Cause.die("bug")).reason, "Unavailable")
  })

  /** Storages whose requests never end, until `end` interrupts them as a client does whose scope closes. */
  const interruptible = Effect.gen(function*() {
    const scope = yield* Scope.make()
    const storages = yield* Effect.map(links, (links) =>
      links.map(({ storage }): Service.Storage => {
        const hang = Effect.flatMap(Effect.forkIn(Effect.never, scope), (fiber) =>
          Effect.flatMap(
            Effect.promise(() => new Promise((resolve) => fiber.addObserver(resolve))),
            () => Effect.interrupt
          ))
        return { ...storage, sync: () => hang, change: () => hang, probe: () => hang }
      }))
    return { storages, end: Scope.close(scope, Exit.void) }
  })

  const kinds: Readonly<
    Record<string, (a: Service.Storage, b: Service.Storage) => Effect.Effect<Service.Storage, never, Scope.Scope>>
  > = {
    chain: (a, b) => Fallback.make([{ storage: a }, { storage: b }]),
    mirror: (a, b) => Mirror.make([{ storage: a }, { storage: b }]),
    "regional storage": (a, b) => Regions.make("a", { a, b }),
    migration: (a, b) => Effect.map(Migration.make({ name: "m", from: a, to: b }), ({ storage }) => storage)
  }
  for (const [kind, make] of Object.entries(kinds)) {
    it.effect(`a ${kind} logs nothing when its scope closes while requests are under way (S12)`, () =>
      withReports((logged) =>
        Effect.gen(function*() {
          const { end, storages: [a, b] } = yield* interruptible
          const scope = yield* Scope.make()
          yield* TestClock.adjust("1 second")
          const making = yield* Effect.forkChild(Scope.provide(make(a!, b!), scope), { startImmediately: true })
          yield* TestClock.adjust("10 seconds")
          yield* untilQuiet
          const exit = making.pollUnsafe()
          assert.isTrue(exit !== undefined && Exit.isSuccess(exit))
          const storage = exit !== undefined && Exit.isSuccess(exit) ? exit.value : a!
          const before = logged.length
          for (let i = 0; i < 8; i++) {
            yield* Effect.forkChild(Effect.exit(circuitOf(storage, `c${i}`).report(failures(1))), {
              startImmediately: true
            })
          }
          yield* untilQuiet
          yield* Scope.close(scope, Exit.void)
          yield* end
          yield* untilQuiet
          assert.deepStrictEqual(logged.slice(before), [])
        })
      ))
  }
})
