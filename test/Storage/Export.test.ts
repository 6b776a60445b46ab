import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schedule, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { readFileSync } from "node:fs"
import { circuitOf, failures, HOUR, MINUTE } from "../../src/conformance/Law.ts"
import { noLifetimeCounts } from "../../src/core/Delta.ts"
import { RESERVED_PREFIX } from "../../src/core/Reserved.ts"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import * as Export from "../../src/Storage/Export.ts"
import * as Memory from "../../src/Storage/Memory.ts"
import { filled } from "../support/archives.ts"
import { failing, Link, memory, processes } from "../support/storages.ts"

const { exportCircuits, importCircuits } = Export

/** Runs an effect with a storage. */
const on = <A, E>(storage: Storage.Storage, effect: Effect.Effect<A, E, Storage.Storage>) =>
  Effect.provideService(effect, Storage.Storage, storage)

const resultsOf = (circuits: ReadonlyArray<Export.ImportedCircuit>) =>
  Object.fromEntries(circuits.map(({ circuit, result }) => [circuit, result]))

const listed = (storage: Storage.Storage) => Effect.map(Stream.runCollect(storage.list), (names) => names.toSorted())

const plain = (value: unknown): any => JSON.parse(JSON.stringify(value))

/** A closed circuit of an archive, with the given fields of its snapshot. */
const circuit = (name: string, snapshot: Partial<Export.ArchivedSnapshot> = {}): Export.ArchivedCircuit => ({
  name,
  snapshot: {
    format: 1,
    generation: 7,
    state: { _tag: "Closed" },
    openings: 0,
    openFor: 0,
    hint: 0,
    lifetime: { ...noLifetimeCounts, opened: 0 },
    ...snapshot
  }
})

const archive = (...circuits: ReadonlyArray<Export.ArchivedCircuit>): Export.Archive => ({
  version: 1,
  exported_at: "1970-01-01T00:00:00.000Z",
  backend: "memory",
  circuits
})

const forced = { kind: "ForcedOpen", reason: "incident 42", actor: "ann" } as const
const isOpen = { state: { _tag: "Open", remaining: MINUTE }, elapsed: 0, openings: 1, openFor: MINUTE } as const

describe("an export", () => {
  it.effect("an export is plain JSON that the schema accepts", () =>
    Effect.gen(function*() {
      const all = yield* filled
      assert.deepStrictEqual(plain(all), all)
      assert.deepStrictEqual(Schema.decodeUnknownSync(Export.Archive)(all), all)
    }).pipe(Effect.provide(Storage.MemoryStorageLive)))

  it.effect("an export has its version, its backend and its time", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 hour")
      const storage = yield* memory
      assert.deepStrictEqual(yield* on(storage, exportCircuits()), {
        version: 1,
        exported_at: "1970-01-01T01:00:00.000Z",
        backend: "memory",
        circuits: []
      })
    }))

  it.effect("an export reads a hundred circuits per request, writes nothing, and has each name once and in order", () =>
    Effect.gen(function*() {
      const [link] = yield* processes(1)
      const names = Array.from({ length: 251 }, (_, i) => `c${i}`)
      yield* Effect.forEach(names, (name) => circuitOf(link!.storage, name).operate({ _tag: "HalfOpen" }))
      link!.sent.length = 0
      const twice = { ...link!.storage, list: Stream.concat(link!.storage.list, link!.storage.list) }
      const { circuits } = yield* on(twice, exportCircuits())
      assert.deepStrictEqual(circuits.map(({ name }) => name), names.toSorted())
      assert.deepStrictEqual(link!.sent, ["sync", "sync", "sync"])
    }))

  it.effect("an export's times are as of exported_at, however long the reading took", () =>
    Effect.gen(function*() {
      const [link] = yield* processes(1)
      const names = Array.from({ length: 101 }, (_, i) => `c${i}`)
      yield* Effect.forEach(names, (name) => circuitOf(link!.storage, name).open())
      link!.fault((request) => Effect.andThen(TestClock.adjust("10 seconds"), request))
      const { circuits } = yield* on(link!.storage, exportCircuits())
      const left = new Set(circuits.map(({ snapshot: { state } }) => state._tag === "Open" && state.remaining))
      assert.deepStrictEqual([...left], [40_000])
    }))

  it.effect("an export has the filtered circuits, without reserved names and circuits that were forgotten meanwhile", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      for (const name of ["http/a", "http/b", "mail", `${RESERVED_PREFIX}health/x`]) {
        yield* circuitOf(storage, name).operate({ _tag: "HalfOpen" })
      }
      const names = (options?: Export.ExportOptions) =>
        Effect.map(
          on({ ...storage, list: Stream.concat(storage.list, Stream.make("gone")) }, exportCircuits(options)),
          ({ circuits }) => circuits.map(({ name }) => name)
        )
      assert.deepStrictEqual(yield* names(), ["http/a", "http/b", "mail"])
      assert.deepStrictEqual(yield* names({ filter: (name) => name.startsWith("http/") }), ["http/a", "http/b"])
    }))

  it.effect("an export fails with every circuit that cannot be read, instead of leaving them out", () =>
    Effect.gen(function*() {
      const of = yield* memory
      for (const name of ["good", "bad", "newer"]) yield* circuitOf(of, name).operate({ _tag: "HalfOpen" })
      const storage: Storage.Storage = {
        ...of,
        sync: (reports) =>
          Effect.map(of.sync(reports), (synced) =>
            synced.map(({ circuit, result }) => ({
              circuit,
              result: circuit === "bad"
                ? Result.fail(new Storage.StorageError({ operation: "sync", circuit, reason: "Invalid", cause: "?" }))
                : Result.map(result, ({ reported, snapshot }) => ({
                  reported,
                  snapshot: circuit === "newer" ? { ...snapshot, format: 2 } : snapshot
                }))
            })))
      }
      const error = yield* Effect.flip(on(storage, exportCircuits()))
      assert.instanceOf(error, Export.ExportError)
      assert.deepStrictEqual(error.errors.map(({ circuit, reason }) => [circuit, reason]), [
        ["bad", "Invalid"],
        ["newer", "Denied"]
      ])
      assert.strictEqual(error.message, "Cannot export 2 circuits: \"bad\" (Invalid), \"newer\" (Denied)")
      const bad = new Set(error.errors.map(({ circuit }) => circuit))
      const { circuits } = yield* on(storage, exportCircuits({ filter: (name) => !bad.has(name) }))
      assert.deepStrictEqual(circuits.map(({ name }) => name), ["good"])
      const short = yield* Effect.flip(on({ ...of, sync: () => Effect.succeed([]) }, exportCircuits()))
      assert.deepStrictEqual(short instanceof Export.ExportError && short.errors.length, 3)
    }))

  it.effect("an export has no circuit that could not be imported", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const { operate, read, trip } = circuitOf(storage, "a")
      yield* trip(yield* read, { why: { reason: "odd", evidence: { big: 1n } } })
      const error = yield* Effect.flip(on(storage, exportCircuits()))
      assert.deepStrictEqual(error instanceof Export.ExportError && error.errors[0]?.reason, "Invalid")
      yield* operate({ _tag: "Reset" })
      yield* on(storage, exportCircuits())
    }))

  it.effect("an export fails with the storage's error", () =>
    Effect.gen(function*() {
      const [link] = yield* processes(1)
      yield* circuitOf(link!.storage, "a").operate({ _tag: "HalfOpen" })
      link!.fault(failing("Unavailable"))
      const error = yield* Effect.flip(on(link!.storage, exportCircuits()))
      assert.strictEqual(error instanceof Storage.StorageError && error.reason, "Unavailable")
    }))

  it.effect("an export has the given policies, by breaker or circuit, as far as they are data", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      for (const name of ["mail", "a~1b/k", "a~1b/own", "http", "httpx/a"]) {
        yield* circuitOf(storage, name).operate({ _tag: "HalfOpen" })
      }
      const mail = {
        openFor: Schedule.exponential("1 second"),
        timeout: 2000,
        classify: () => "failure" as never
      }
      const keyed = { trip: Trip.failures({ count: 3, within: "1 minute" }), capacity: 10 }
      const policies = { mail, "a/b": keyed, "a~1b/own": { maxConcurrent: 3 }, toString: {} as any }
      const { circuits } = yield* on(storage, exportCircuits({ policies }))
      const byName = Object.fromEntries(circuits.map(({ name, policy }) => [name, policy]))
      assert.deepStrictEqual(byName, {
        "mail": { fingerprint: Breaker.fingerprint(mail), data: { timeout: 2000 }, omitted: ["openFor", "classify"] },
        "a~1b/k": {
          fingerprint: Breaker.fingerprint(keyed),
          data: { trip: { _tag: "Failures", count: 3, within: 60_000 } },
          omitted: []
        },
        "a~1b/own": { fingerprint: Breaker.fingerprint({ maxConcurrent: 3 }), data: { maxConcurrent: 3 }, omitted: [] },
        "http": undefined,
        "httpx/a": undefined
      } as never)
      const data = Schema.decodeUnknownSync(Breaker.Data)(plain(circuits[0]?.policy?.data))
      assert.strictEqual(Breaker.fingerprint(data), Breaker.fingerprint(keyed))
      assert.throws(
        () => exportCircuits({ policies: { mail: { timeout: -1 } } }),
        RangeError,
        "Circuit \"mail\": timeout"
      )
    }))
})

describe("an import", () => {
  it.effect("an import subtracts the time that has passed since the export", () =>
    Effect.gen(function*() {
      const overridden = (remaining?: number) => ({
        override: remaining === undefined ? forced : { ...forced, remaining }
      })
      const lifetime = {
        ...noLifetimeCounts,
        success: 1,
        failure: 1,
        opened: 1,
        lastSuccessAge: 5,
        lastSuccessDuration: 2,
        lastFailureAge: 6,
        lastFailureDuration: 3,
        lastOpenedAge: 7
      }
      const document = archive(
        circuit("open", { ...isOpen, hint: 50_000, elapsed: 10_000, lifetime }),
        circuit("over", { ...isOpen, state: { _tag: "Open", remaining: 10_000 }, hint: 1000 }),
        circuit("half-open", { state: { _tag: "HalfOpen", successes: 2 }, openings: 3, openFor: 1000, elapsed: 0 }),
        circuit("backoff", { openings: 4, openFor: MINUTE, elapsed: 10_000 }),
        circuit("no backoff", { openings: 4, openFor: MINUTE, elapsed: 50_000 }),
        circuit("forced", overridden()),
        circuit("forced still", overridden(MINUTE)),
        circuit("forced no more", overridden(10_000))
      )
      yield* TestClock.adjust("20 seconds")
      const storage = yield* memory
      yield* on(storage, importCircuits(document))
      const { circuits } = yield* on(storage, exportCircuits())
      const byName = Object.fromEntries(circuits.map(({ name, snapshot }) => [name, snapshot]))
      const { elapsed, hint, state } = byName["open"]!
      assert.deepStrictEqual([state, elapsed, hint], [{ _tag: "Open", remaining: 40_000 }, 30_000, 30_000])
      assert.deepStrictEqual(byName["open"]?.lifetime, {
        ...lifetime,
        lastSuccessAge: 20_005,
        lastFailureAge: 20_006,
        lastOpenedAge: 20_007
      })
      assert.deepStrictEqual([byName["over"]?.state, byName["over"]?.hint], [{ _tag: "Open", remaining: 0 }, 0])
      assert.deepStrictEqual(byName["half-open"]?.state, { _tag: "HalfOpen", successes: 2 })
      assert.deepStrictEqual(["half-open", "backoff", "no backoff"].map((name) => byName[name]?.openings), [3, 4, 0])
      assert.deepStrictEqual(
        ["forced", "forced still", "forced no more"].map((name) => byName[name]?.override),
        [forced, { ...forced, remaining: 40_000 }, undefined]
      )
    }))

  it.effect("an import of a document from the future treats it as of now", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const document = { ...archive(circuit("a", isOpen)), exported_at: "2026-01-31T12:00:00.000Z" }
      yield* on(storage, importCircuits(document))
      assert.deepStrictEqual((yield* circuitOf(storage, "a").read).state, isOpen.state)
    }))

  it.effect("an import takes over a circuit that never changed, with its counts", () =>
    Effect.gen(function*() {
      const [from, to] = yield* Effect.all([memory, memory])
      yield* circuitOf(from, "a").report(failures(3))
      const exported = yield* on(from, exportCircuits())
      assert.strictEqual(exported.circuits[0]?.snapshot.generation, 0)
      assert.deepStrictEqual(resultsOf(yield* on(to, importCircuits(exported))), { a: "Imported" })
      assert.strictEqual((yield* circuitOf(to, "a").read).lifetime.failure, 3)
    }))

  it.effect("an import keeps the larger counts of both sides, and doubles none", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const { read, report } = circuitOf(storage, "a")
      yield* report(failures(5))
      const lifetime = { ...noLifetimeCounts, opened: 0, success: 9, failure: 2 }
      const document = archive(circuit("a", { generation: 0, lifetime }))
      assert.deepStrictEqual(resultsOf(yield* on(storage, importCircuits(document))), { a: "Imported" })
      assert.deepStrictEqual(resultsOf(yield* on(storage, importCircuits(document))), { a: "Unchanged" })
      const { failure, success } = (yield* read).lifetime
      assert.deepStrictEqual([success, failure], [9, 5])
    }))

  it.effect("an import has a row of history with its actor and document, and keeps the state's reason", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const why = { reason: "5 failures", evidence: { failures: 5 } }
      yield* on(storage, importCircuits(archive(circuit("a", { ...isOpen, why })), { actor: "ann" }))
      assert.deepStrictEqual((yield* circuitOf(storage, "a").read).why, why)
      const [row] = yield* storage.history("a")
      assert.deepStrictEqual(row?.why, { reason: "imported from memory, as of 1970-01-01T00:00:00.000Z", actor: "ann" })
      assert.deepStrictEqual([row?.from, row?.to], ["Closed", "Open"])
    }))

  it.effect("an import takes a generation above the document's", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      yield* on(storage, importCircuits(archive(circuit("a", { ...isOpen, generation: 2 ** 51 }))))
      assert.strictEqual((yield* circuitOf(storage, "a").read).generation, 2 ** 51 + 1)
    }))

  it.effect("breakers adopt an import", () =>
    Effect.gen(function*() {
      const breaker = yield* Breaker.make("a", {})
      yield* breaker.wrap(Effect.void)
      yield* importCircuits(archive(circuit("a", { ...isOpen, why: { reason: "5 failures" } })))
      const error = yield* Effect.flip(breaker.wrap(Effect.void))
      assert.deepStrictEqual([error._tag, error.reason], ["BreakerOpenError", "5 failures"])
    }).pipe(Effect.provide(Storage.MemoryStorageLive)))

  it.effect("an import with dryRun returns what it would do, and writes nothing", () =>
    Effect.gen(function*() {
      const [link] = yield* processes(1)
      const { operate } = circuitOf(link!.storage, "there")
      yield* operate({ _tag: "Override", ...forced })
      const document = archive(circuit("new", isOpen), circuit("there", isOpen), circuit("nothing", { generation: 0 }))
      link!.sent.length = 0
      const would = yield* on(link!.storage, importCircuits(document, { dryRun: true }))
      assert.deepStrictEqual(resultsOf(would), { new: "WouldImport", there: "WouldImport", nothing: "Unchanged" })
      assert.deepStrictEqual(would[1]?.differences.map(({ after, before, field }) => [field, before, after]), [
        ["state", { _tag: "Closed" }, isOpen.state],
        ["elapsed", undefined, 0],
        ["openings", 0, 1],
        ["openFor", 0, MINUTE],
        ["override", { ...forced, remaining: undefined }, undefined]
      ])
      assert.deepStrictEqual(link!.sent, ["sync"])
      const done = yield* on(link!.storage, importCircuits(document))
      assert.deepStrictEqual(done.map(({ differences }) => differences), would.map(({ differences }) => differences))
      assert.deepStrictEqual(resultsOf(done), { new: "Imported", there: "Imported", nothing: "Unchanged" })
      assert.deepStrictEqual(yield* listed(link!.storage), ["new", "there"])
    }))

  it.effect("a repeated import changes nothing more, also if a circuit has changed since", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const document = archive(circuit("a", isOpen), circuit("b", isOpen), circuit("c", isOpen))
      yield* on(storage, importCircuits(document))
      yield* circuitOf(storage, "b").operate({ _tag: "Reset" })
      yield* circuitOf(storage, "c").operate({ _tag: "Remove" })
      yield* TestClock.adjust("10 seconds")
      const before = yield* on(storage, exportCircuits())
      assert.deepStrictEqual(resultsOf(yield* on(storage, importCircuits(document))), {
        a: "Unchanged",
        b: "Superseded",
        c: "Superseded"
      })
      assert.deepStrictEqual(yield* on(storage, exportCircuits()), before)
      // A document with another time is another document, and so is an edited one.
      const later = { ...document, exported_at: "1970-01-01T00:00:00.001Z" }
      assert.strictEqual(resultsOf(yield* on(storage, importCircuits(later)))["b"], "Imported")
      const edited = archive(circuit("b", { ...isOpen, openings: 2 }))
      assert.strictEqual(resultsOf(yield* on(storage, importCircuits(edited)))["b"], "Imported")
    }))

  it.effect("an import with onConflict keep leaves changed circuits as they are", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      yield* circuitOf(storage, "changed").operate({ _tag: "Reset" })
      yield* circuitOf(storage, "counted").report(failures(1))
      const document = archive(circuit("changed", isOpen), circuit("counted", isOpen), circuit("new", isOpen))
      const results = yield* on(storage, importCircuits(document, { onConflict: "keep" }))
      assert.deepStrictEqual(resultsOf(results), { changed: "Kept", counted: "Imported", new: "Imported" })
      assert.isTrue(results[0]?.differences.some(({ field }) => field === "state"))
      assert.strictEqual((yield* circuitOf(storage, "changed").read).state._tag, "Closed")
      assert.throws(
        () => importCircuits(document, { onConflict: "ask" as never }),
        RangeError,
        "onConflict must be one of"
      )
    }))

  it.effect("an import takes the filtered circuits", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const document = archive(circuit("a", isOpen), circuit("b", isOpen))
      yield* on(storage, importCircuits(document, { filter: (name) => name === "b" }))
      assert.deepStrictEqual(yield* listed(storage), ["b"])
    }))

  it.effect("an import returns a mismatch for a policy other than the given one", () =>
    Effect.gen(function*() {
      const [mine, theirs] = [{ openFor: "1 second" }, { openFor: "2 seconds" }] as const
      const given = Breaker.fingerprint(mine)
      const archived = Breaker.fingerprint(theirs)
      const policy = { fingerprint: archived, data: { openFor: 2000 }, omitted: [] }
      const document = archive(
        { ...circuit("with", { fingerprint: given }), policy },
        circuit("without", { fingerprint: archived }),
        circuit("same", { fingerprint: given }),
        circuit("unknown"),
        circuit("of no policy", { fingerprint: archived })
      )
      const policies = { with: mine, without: mine, same: mine, unknown: mine }
      const results = yield* on(yield* memory, importCircuits(document, { policies, dryRun: true }))
      const mismatch = { archived, given }
      assert.deepStrictEqual(
        results.map((result) => result.mismatch),
        [mismatch, mismatch, undefined, undefined, undefined]
      )
    }))

  it.effect("an import takes over the other circuits if the storage refuses one, and returns Refused for that", () =>
    Effect.gen(function*() {
      const of = yield* memory
      const refusal = new Storage.StorageError({ operation: "change", circuit: "b", reason: "Denied", cause: "no" })
      const storage: Storage.Storage = {
        ...of,
        change: (name, change) => name === "b" ? Effect.fail(refusal) : of.change(name, change)
      }
      const document = archive(circuit("a", isOpen), circuit("b", isOpen), circuit("c", isOpen))
      const results = yield* on(storage, importCircuits(document))
      assert.deepStrictEqual(resultsOf(results), { a: "Imported", b: "Refused", c: "Imported" })
      assert.strictEqual(results[1]?.error, refusal)
      assert.deepStrictEqual(yield* listed(of), ["a", "c"])
    }))

  it.effect("an import is refused by a storage that is cut off, and by null, circuit by circuit", () =>
    Effect.gen(function*() {
      const document = archive(circuit("a", isOpen), circuit("b", isOpen))
      const [link] = yield* processes(1)
      link!.fault(failing("Unavailable"))
      const away = yield* on(link!.storage, importCircuits(document))
      assert.deepStrictEqual(away.map(({ error, result }) => [result, error?.reason]), [
        ["Refused", "Unavailable"],
        ["Refused", "Unavailable"]
      ])
      for (const dryRun of [true, false]) {
        const nowhere = yield* Effect.provide(importCircuits(document, { dryRun }), Storage.NullStorageLive)
        assert.deepStrictEqual(nowhere.map(({ error, result }) => [result, error?.reason]), [
          ["Refused", "Denied"],
          ["Refused", "Denied"]
        ])
      }
    }))

  it.effect("an import can be repeated after a lost answer", () =>
    Effect.gen(function*() {
      const of = yield* memory
      const link = new Link(of)
      link.fault((request) => Effect.andThen(request, failing("Deadline")(request)), "change")
      const document = archive(circuit("a", isOpen))
      assert.deepStrictEqual(resultsOf(yield* on(link.storage, importCircuits(document))), { a: "Refused" })
      const { generation } = yield* circuitOf(of, "a").read
      assert.deepStrictEqual(resultsOf(yield* on(of, importCircuits(document))), { a: "Unchanged" })
      assert.strictEqual((yield* circuitOf(of, "a").read).generation, generation)
    }))

  const good = plain(
    archive({ ...circuit("a", isOpen), policy: { fingerprint: "f", data: { timeout: 5 }, omitted: [] } }, circuit("b"))
  )
  const broken: ReadonlyArray<readonly [path: string, breakIt: (document: any) => unknown]> = [
    ["version", (document) => document.version = 2],
    ["version", (document) => delete document.version],
    ["comment", (document) => document.comment = "mine"],
    ["exported_at", (document) => document.exported_at = "yesterday"],
    ["exported_at", (document) => document.exported_at = "2026-02-31T00:00:00.000Z"],
    ["circuits", (document) => document.circuits = {}],
    ["circuits[1]", (document) => document.circuits[1] = null],
    ["circuits[1].name", (document) => document.circuits[1].name = "a"],
    ["circuits[1].name", (document) => document.circuits[1].name = "\ud800"],
    ["circuits[1].name", (document) => document.circuits[1].name = `${RESERVED_PREFIX}health/x`],
    ["circuits[1].owner", (document) => document.circuits[1].owner = "me"],
    ["circuits[1].snapshot.format", (document) => document.circuits[1].snapshot.format = 2],
    ["circuits[1].snapshot.generation", (document) => document.circuits[1].snapshot.generation = 2 ** 52 + 1],
    ["circuits[1].snapshot.generation", (document) => document.circuits[1].snapshot.generation = 0.5],
    ["circuits[0].snapshot.state", (document) => document.circuits[0].snapshot.state._tag = "Ajar"],
    ["circuits[0].snapshot.state.remaining", (document) => document.circuits[0].snapshot.state.remaining = -1],
    ["circuits[0].snapshot.state.remaining", (document) => document.circuits[0].snapshot.state.remaining = null],
    ["circuits[0].snapshot.elapsed", (document) => document.circuits[0].snapshot.elapsed = 1e300],
    ["circuits[1].snapshot.hint", (document) => document.circuits[1].snapshot.hint = NaN],
    [
      "circuits[1].snapshot.override.kind",
      (document) => document.circuits[1].snapshot.override = { ...forced, kind: "Open" }
    ],
    ["circuits[1].snapshot.why.reason", (document) => document.circuits[1].snapshot.why = {}],
    ["circuits[1].snapshot.lifetime.failure", (document) => document.circuits[1].snapshot.lifetime.failure = "1"],
    ["circuits[1].snapshot.totals", (document) => document.circuits[1].snapshot.totals = []],
    ["circuits[0].policy.data", (document) => document.circuits[0].policy.data.timeout = 0],
    ["circuits[0].policy.data", (document) => document.circuits[0].policy.data.retries = 3],
    ["circuits[0].policy.omitted[0]", (document) => document.circuits[0].policy.omitted = ["trip"]]
  ]

  it.effect("an import accepts the document in docs/export.md", () =>
    Effect.gen(function*() {
      const [, text = ""] = /```json\n([^]*?)\n```/.exec(readFileSync("docs/export.md", "utf8")) ?? []
      const policies = { payments: { trip: Trip.consecutiveFailures(2) } }
      const [result] = yield* on(yield* memory, importCircuits(JSON.parse(text), { policies }))
      assert.deepStrictEqual([result?.circuit, result?.result, result?.mismatch], ["payments", "Imported", undefined])
    }))

  it.effect("an import refuses an archived policy with an unknown field, and names it (F30)", () =>
    Effect.gen(function*() {
      const document = structuredClone(good)
      document.circuits[0].policy.data.timout = 3
      const [link] = yield* processes(1)
      const error = yield* Effect.flip(on(link!.storage, importCircuits(document)))
      assert.include(error.message, "timout must be left out, because there is no such field (did you mean timeout?)")
    }))

  it.effect("an import by an unusable actor is refused at once, with field, value and range (F31)", () =>
    Effect.sync(() => {
      for (const actor of ["", "a\nb", 7]) {
        const act = () => importCircuits(good, { actor: actor as string })
        assert.throws(act, RangeError, /^importCircuits: actor must be a text of 1 to 200 characters/)
      }
    }))

  it.effect("an export takes the policies of keyed breakers, without what is not a policy's (F30)", () =>
    Effect.gen(function*() {
      const [link] = yield* processes(1)
      const keyed = { openFor: "5 seconds", capacity: 10, overflow: "shareOne" } as const
      const { circuits } = yield* on(
        link!.storage,
        Effect.gen(function*() {
          const hosts = yield* Breaker.makeKeyed("archived-hosts", keyed)
          yield* Effect.ignore(hosts.wrap(Effect.fail("no"), { key: "a" }))
          yield* TestClock.adjust("1 second")
          return yield* Export.exportCircuits({ policies: { "archived-hosts": keyed } })
        }).pipe(Effect.scoped)
      )
      assert.deepStrictEqual(circuits.map(({ policy }) => policy?.data), [{ openFor: 5000 }])
    }))

  it.effect("an import refuses an invalid document, names the place, and writes nothing", () =>
    Effect.gen(function*() {
      const [link] = yield* processes(1)
      for (const [path, breakIt] of broken) {
        const document = structuredClone(good)
        breakIt(document)
        const error = yield* Effect.flip(on(link!.storage, importCircuits(document)))
        assert.instanceOf(error, Export.ArchiveError)
        assert.strictEqual(error.path, path)
        assert.strictEqual(error.message, `Cannot import the archive: at ${path}: ${error.problem}`)
        assert.include(error.problem, " ")
      }
      const [deep, cycle] = [structuredClone(good), structuredClone(good)]
      const levels = (n: number) => Array.from({ length: n }).reduce<unknown>((inner) => [inner], 1)
      deep.circuits[0].snapshot.why = { reason: "deep", evidence: levels(100_000) }
      cycle.circuits[0].snapshot.why = { reason: "cycle", evidence: cycle }
      for (const document of [undefined, null, 1, "{}", [], good.circuits, deep, cycle]) {
        assert.instanceOf(yield* Effect.flip(on(link!.storage, importCircuits(document))), Export.ArchiveError)
      }
      assert.deepStrictEqual(link!.sent, [])
      good.circuits[0].snapshot.why = { reason: "deep enough", evidence: levels(95) }
      const results = yield* on(link!.storage, importCircuits(good))
      assert.deepStrictEqual(resultsOf(results), { a: "Imported", b: "Unchanged" })
    }))
})

// -----------------------------------------------------------------------------
// any document
// -----------------------------------------------------------------------------

const Millis = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 2 * HOUR }))
const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 }))
const Text = Schema.String.check(Schema.makeFilter((text) => text.isWellFormed()))
const optional = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(schema)

const Circuits = Schema.Array(Schema.Struct({
  name: Text,
  snapshot: Schema.Struct({
    format: Schema.Literal(1),
    generation: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 40 })),
    state: Schema.Union([
      Schema.TaggedStruct("Closed", {}),
      Schema.TaggedStruct("Open", { remaining: Millis }),
      Schema.TaggedStruct("HalfOpen", { successes: Count })
    ]),
    elapsed: optional(Millis),
    openings: Count,
    openFor: Millis,
    override: optional(Schema.Struct({
      kind: Schema.Literals(["ForcedOpen", "Disabled", "MetricsOnly"]),
      reason: Text,
      actor: Text,
      remaining: optional(Millis)
    })),
    hint: Millis,
    why: optional(Schema.Struct({ reason: Text, actor: optional(Text), evidence: optional(Schema.Json) })),
    fingerprint: optional(Text),
    lifetime: Schema.Struct({
      success: Count,
      failure: Count,
      ignored: Count,
      timeout: Count,
      slow: Count,
      rejected: Count,
      opened: Count,
      lastSuccessAge: optional(Millis),
      lastSuccessDuration: optional(Millis),
      lastOpenedAge: optional(Millis)
    })
  })
})).check(Schema.isMaxLength(6))

/** An archive of these circuits, each under a name of its own. */
const archiveOf = (circuits: typeof Circuits.Type): Export.Archive =>
  plain(archive(...circuits.map(({ name, snapshot }, index) => ({ name: `${index}${name}`, snapshot }))))

/** The fields of a circuit that do not change with time. */
const essence = ({ fingerprint, lifetime, openFor, state, why }: Export.ArchivedSnapshot) => {
  const { failure, ignored, opened, rejected, slow, success, timeout } = lifetime
  return plain({
    fingerprint,
    openFor,
    state: state._tag,
    why,
    counts: [success, failure, ignored, timeout, slow, rejected, opened]
  })
}

/** Changes one place of a document, chosen by the given numbers. */
const mutated = (document: unknown, turns: ReadonlyArray<number>, to: unknown): unknown => {
  const [turn, ...others] = turns
  if (turn === undefined || typeof document !== "object" || document === null) return to
  const keys = Object.keys(document)
  if (keys.length === 0) return to
  const key = keys[turn % keys.length]!
  const inner = mutated(Reflect.get(document, key), others, to)
  if (Array.isArray(document)) {
    return document.flatMap((value, index) => String(index) !== key ? [value] : inner === gone ? [] : [inner])
  }
  const { [key]: _, ...rest } = document as Record<string, unknown>
  return inner === gone ? rest : { ...rest, [key]: inner }
}
const gone = Symbol("gone")
const odd = [gone, null, -1, 0, 1, 0.5, 2 ** 60, "", "a", "Closed", "Open", "0", [], {}, { _tag: "Open" }, true]

describe("any document", () => {
  it.effect.prop("any archive survives JSON and the schema", [Circuits], ([circuits]) =>
    Effect.sync(() => {
      const document = archiveOf(circuits)
      const text = Schema.encodeSync(Schema.fromJsonString(Export.Archive))(document)
      assert.deepStrictEqual(Schema.decodeSync(Schema.fromJsonString(Export.Archive))(text), document)
    }))

  it.effect.prop("a mutated archive is imported whole or refused as a whole", [
    Circuits,
    Schema.Array(Schema.Natural).check(Schema.isMaxLength(6)),
    Schema.Natural
  ], ([circuits, turns, n]) =>
    Effect.gen(function*() {
      const storage = yield* Memory.make()
      const document = n % 3 === 0 ? archiveOf(circuits) : mutated(archiveOf(circuits), turns, odd[n % odd.length])
      const imported = yield* Effect.result(on(storage, importCircuits(document)))
      if (Result.isFailure(imported)) {
        assert.instanceOf(imported.failure, Export.ArchiveError)
        return assert.deepStrictEqual(yield* listed(storage), [])
      }
      const whole = document as Export.Archive
      assert.deepStrictEqual(imported.success.map(({ circuit }) => circuit), whole.circuits.map(({ name }) => name))
      assert.deepStrictEqual(imported.success.filter(({ result }) => !/^(Imported|Unchanged)$/.test(result)), [])
      for (const { name, snapshot } of whole.circuits) {
        const it = yield* circuitOf(storage, name).read
        assert.deepStrictEqual(essence(it as never), essence(snapshot))
        const overridden = snapshot.override?.remaining === 0 ? undefined : snapshot.override?.kind
        assert.strictEqual(it.override?.kind, overridden)
      }
      const again = yield* on(storage, importCircuits(document))
      assert.deepStrictEqual(again.filter(({ result }) => result !== "Unchanged"), [])
    }), { arbitrary: { runs: 500, size: 30 } })
})
