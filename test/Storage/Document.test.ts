import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Latch, Result, Schema, Stream } from "effect"
import { type Change, change, type OperationTo } from "../../src/core/Change.ts"
import { noDelta } from "../../src/core/Delta.ts"
import { ask, settle } from "../../src/core/Lease.ts"
import { type CircuitRecord, created, FORMAT, type Snapshot, snapshot } from "../../src/core/Record.ts"
import { report } from "../../src/core/Report.ts"
import * as Storage from "../../src/Storage.ts"
import type { Announcement, CircuitReport, HistoryEntry, Probe } from "../../src/Storage/Storage.ts"
import { failures, forced, IDLE, MINUTE, opening, why, WITHINS } from "../core/circuit.ts"

const author = { reason: "by hand", actor: "ann" }

/** A storage over a table of texts, with injected faults and shorthands for its operations. */
class Table {
  now = 0
  writes = 0
  readonly rows = new Map<string, string>()
  readonly announced: Array<Announcement> = []
  /** Effects that run in the middle of the next modifications, each once. */
  readonly trouble: Array<(circuit: string) => Effect.Effect<unknown, Storage.StorageError>> = []
  announcing: Effect.Effect<void, Storage.StorageError> = Effect.void
  #sequence = 0

  readonly modify: Storage.Modify = Effect.fnUntraced({ self: this }, function*(circuit, f) {
    while (true) {
      const text = this.rows.get(circuit)
      const document = text === undefined ? undefined : freeze(yield* Storage.decodeDocument(text))
      const [result, next] = f(document, this.now)
      yield* this.trouble.shift()?.(circuit) ?? Effect.void
      if (next === document || next === undefined) return result
      if (text === this.rows.get(circuit)) {
        this.rows.set(circuit, yield* Storage.encodeDocument(next))
        this.writes++
        return result
      }
    }
  })

  readonly storage = this.make()

  make(options: Partial<Storage.DocumentOptions> = {}) {
    return Storage.fromDocument({
      backend: "table",
      capabilities: { shared: true, durable: false, pushes: true, history: true, fences: true },
      modify: this.modify,
      names: Stream.suspend(() => Stream.fromIterable(this.rows.keys())),
      push: {
        announce: (announcement) => {
          this.announced.push(announcement)
          return this.announcing
        },
        changes: Stream.suspend(() => Stream.fromIterable(this.announced))
      },
      ...options
    })
  }

  document(circuit = "a"): Storage.Document {
    return JSON.parse(this.rows.get(circuit) ?? "null")
  }
  edit(change: (document: any) => unknown, circuit = "a"): void {
    this.rows.set(circuit, JSON.stringify(change(this.document(circuit))))
  }
  reported(options: Partial<CircuitReport> = {}): CircuitReport {
    const generation = options.generation ?? this.document(options.circuit)?.record.generation ?? 0
    const sequence = ++this.#sequence
    return { circuit: "a", instance: "i", sequence, generation, delta: failures(1), withins: WITHINS, ...options }
  }
  report(options: Partial<CircuitReport> = {}) {
    return this.sync(this.reported(options))
  }
  sync(report: CircuitReport) {
    return this.storage.sync([report]).pipe(Effect.flatMap(([one]) => Effect.fromResult(one!.result)))
  }
  readonly look = (circuit = "a") =>
    this.report({ circuit, delta: noDelta, generation: 0 }).pipe(Effect.map(({ snapshot }) => snapshot))
  trip(options: { readonly generation?: number; readonly openFor?: number } = {}) {
    const { generation = this.document()?.record.generation ?? 0, openFor = MINUTE } = options
    return this.storage.change("a", {
      _tag: "Trip",
      generation,
      asOf: this.now,
      maxAge: 2000,
      opening: { openFor, maxOpenFor: 100 * IDLE },
      why
    })
  }
  operate(to: OperationTo, id = `${++this.#sequence}`, circuit = "a") {
    return this.storage.change(circuit, { _tag: "Operation", id, known: 0, why: author, to })
  }
  ask(options: { readonly sequence?: number; readonly duration?: number; readonly generation?: number } = {}) {
    const { duration = 10_000, generation = 0, sequence = 1 } = options
    return this.storage.probe("a", {
      _tag: "Ask",
      lease: { instance: "i", sequence },
      generation,
      duration,
      probes: 1
    })
  }
  settle(outcome: Extract<Probe, { _tag: "Settle" }>["outcome"], generation: number, sequence = 1) {
    return this.storage.probe("a", { _tag: "Settle", lease: { instance: "i", sequence }, generation, outcome })
  }
  readonly history = (limit?: number) => this.storage.history("a", { limit })
}

const freeze = <A>(value: A): A => {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(freeze)
  return value
}
const plain = <A>(value: A): A => value === undefined ? value : JSON.parse(JSON.stringify(value))

const success = { _tag: "Success", successes: 1, why: { reason: "recovered" } } as const
const unavailable = new Storage.StorageError({ operation: "get", reason: "Unavailable", cause: "gone" })
const failsAs = (
  effect: Effect.Effect<unknown, Storage.StorageError>,
  operation: string,
  reason: string,
  circuit: string | null = "a"
) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, Storage.StorageError)
    assert.deepStrictEqual([error.operation, error.reason, error.circuit ?? null], [operation, reason, circuit])
    return error
  })

describe("every write is safe to repeat", () => {
  it.effect("a report that arrives twice and late is counted once", () =>
    Effect.gen(function*() {
      const table = new Table()
      const first = table.reported()
      assert.strictEqual((yield* table.sync(first)).reported, "Counted")
      const { writes } = table
      const again = yield* table.sync(first)
      assert.deepStrictEqual([again.reported, again.snapshot.totals[0]?.failure], ["Counted", 1])
      assert.strictEqual(table.writes, writes)
      yield* table.report()
      table.now += IDLE - 1
      assert.strictEqual((yield* table.sync(first)).snapshot.lifetime.failure, 2)
    }))

  it.effect("of repeated trips one wins, with one row of history and one announcement", () =>
    Effect.gen(function*() {
      const table = new Table()
      const [first, second] = yield* Effect.all([table.trip({ generation: 0 }), table.trip({ generation: 0 })], {
        concurrency: 2
      })
      assert.deepStrictEqual([first.committed, second.committed], [true, false])
      assert.deepStrictEqual(first.snapshot, second.snapshot)
      assert.deepStrictEqual([table.writes, (yield* table.history()).length, table.announced.length], [1, 1, 1])
    }))

  it.effect("an Ask and a Settle that are repeated take effect once", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.trip()
      table.now += MINUTE
      const first = yield* table.ask()
      const again = yield* table.ask()
      assert.deepStrictEqual([first.granted, again.granted], [true, true])
      assert.deepStrictEqual(again.snapshot.state, { _tag: "HalfOpen", live: 1, successes: 0, nextLapse: 10_000 })
      const { generation } = first.snapshot
      assert.isTrue((yield* table.settle(success, generation)).granted)
      const { writes } = table
      const settled = yield* table.settle(success, generation)
      assert.deepStrictEqual([settled.granted, settled.snapshot.state._tag], [false, "Closed"])
      assert.isFalse((yield* table.ask()).granted)
      assert.deepStrictEqual([table.writes, table.announced.length], [writes, 3])
    }))

  it.effect("an operator's act and a put-back that are repeated take effect once", () =>
    Effect.gen(function*() {
      const table = new Table()
      const first = yield* table.operate({ _tag: "Override", ...forced }, "x")
      const again = yield* table.operate({ _tag: "Override", ...forced }, "x")
      assert.deepStrictEqual(first, again)
      const input: Change = { _tag: "PutBack", snapshot: first.snapshot, age: 0, leases: [] }
      table.rows.clear()
      assert.isTrue((yield* table.storage.change("a", input)).committed)
      assert.isFalse((yield* table.storage.change("a", input)).committed)
      assert.deepStrictEqual([table.writes, table.announced.length], [2, 2])
    }))
})

describe("a batch", () => {
  it.effect("a batch succeeds in part, each circuit on its own, in the order of the reports", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.report({ circuit: "corrupt" })
      table.rows.set("corrupt", "{")
      table.trouble.push((circuit) => circuit === "slow" ? Effect.yieldNow : Effect.void)
      const names = ["slow", "corrupt", "\ud800", "b", "a"]
      const synced = yield* table.storage.sync(names.map((circuit) => table.reported({ circuit, generation: 0 })))
      assert.deepStrictEqual(synced.map(({ circuit }) => circuit), names)
      assert.deepStrictEqual(
        synced.map(({ result }) => Result.isSuccess(result) ? result.success.snapshot.streak : result.failure.reason),
        [1, "Invalid", "Invalid", 1, 1]
      )
      assert.deepStrictEqual([...table.rows.keys()].toSorted(), ["a", "b", "corrupt", "slow"])
    }))

  it.effect("a batch fails as a whole only if no circuit could be reached", () =>
    Effect.gen(function*() {
      const table = new Table()
      const batch = () => table.storage.sync(["a", "b"].map((circuit) => table.reported({ circuit, generation: 0 })))
      const late = new Storage.StorageError({ operation: "get", reason: "Deadline", cause: "late" })
      table.trouble.push(() => Effect.fail(unavailable), () => Effect.fail(late))
      yield* failsAs(batch(), "sync", "Unavailable")
      table.trouble.push(() => Effect.fail(unavailable))
      assert.deepStrictEqual((yield* batch()).map(({ result }) => Result.isSuccess(result)), [false, true])
      table.rows.set("b", "{")
      table.trouble.push(() => Effect.fail(unavailable))
      assert.deepStrictEqual((yield* batch()).map(({ result }) => Result.isSuccess(result)), [false, false])
    }))

  it.effect("an empty batch has no answers, and a large one is processed a few at a time", () =>
    Effect.gen(function*() {
      const table = new Table()
      assert.deepStrictEqual(yield* table.storage.sync([]), [])
      let [running, most] = [0, 0]
      const storage = table.make({
        modify: (circuit, f) =>
          Effect.sync(() => most = Math.max(most, ++running)).pipe(
            Effect.andThen(Effect.yieldNow),
            Effect.andThen(table.modify(circuit, f)),
            Effect.ensuring(Effect.sync(() => running--))
          )
      })
      const names = Array.from({ length: 500 }, (_, i) => `${i}`)
      const synced = yield* storage.sync(names.map((circuit) => table.reported({ circuit, generation: 0 })))
      assert.deepStrictEqual(synced.map(({ circuit }) => circuit), names)
      assert.isTrue(synced.every(({ result }) => Result.isSuccess(result)))
      assert.strictEqual(most, 16)
    }))
})

describe("reading", () => {
  it.effect("reads and refused requests write nothing", () =>
    Effect.gen(function*() {
      const table = new Table()
      const unwritten = snapshot(undefined, WITHINS, 0, IDLE)
      assert.deepStrictEqual(yield* table.look(), unwritten)
      assert.deepStrictEqual(yield* table.history(), [])
      assert.isFalse((yield* table.trip({ generation: 7 })).committed)
      assert.isFalse((yield* table.ask()).granted)
      assert.isFalse((yield* table.settle(success, 0)).granted)
      assert.strictEqual((yield* table.report({ generation: 7 })).reported, "Behind")
      assert.strictEqual(table.rows.size, 0)
      yield* table.trip()
      const row = table.rows.get("a")
      yield* table.look()
      yield* table.history()
      yield* table.ask()
      yield* table.trip({ generation: 0 })
      yield* Stream.runDrain(table.storage.list)
      assert.deepStrictEqual([table.rows.get("a"), table.writes, table.announced.length], [row, 1, 1])
      table.now += 100 * IDLE
      assert.strictEqual((yield* table.look()).generation, 0)
      assert.strictEqual(table.rows.get("a"), row, "not even what has expired")
    }))

  it.effect("a read returns the document that it was given, expired or not", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.trip()
      const document = table.document()
      let runs = 0
      const storage = table.make({
        modify: (_, f) =>
          Effect.sync(() => {
            const [result, next] = f(document, table.now)
            assert.strictEqual(next, document)
            runs++
            return result
          })
      })
      for (table.now of [0, 100 * IDLE]) {
        yield* storage.sync([table.reported({ delta: noDelta })])
        yield* storage.history("a")
        yield* storage.change("a", { _tag: "Trip", generation: 9, asOf: table.now, maxAge: 0, why })
        yield* storage.probe("a", {
          _tag: "Settle",
          lease: { instance: "i", sequence: 1 },
          generation: 9,
          outcome: success
        })
      }
      assert.strictEqual(runs, 8)
    }))

  it.effect("a read returns the requested totals", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.report({ delta: failures(3), withins: [30_000, 5000] })
      table.now = 10_000
      const { snapshot } = yield* table.report({ delta: noDelta, withins: [5000, 30_000] })
      assert.deepStrictEqual(snapshot.totals.map(({ failure }) => failure), [0, 3])
    }))
})

describe("history", () => {
  it.effect("history has one row for each change, with both states, the cause, and the override in force", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.report()
      yield* table.trip()
      table.now = MINUTE
      const { snapshot: { generation } } = yield* table.ask()
      yield* table.settle(
        { _tag: "Failure", opening, hint: 0, why: { reason: "a probe failed", evidence: { n: 1 } } },
        generation
      )
      const opened = yield* table.operate({ _tag: "Override", ...forced, remaining: 1000 })
      table.now += 1000
      yield* table.operate({ _tag: "Reset" })
      const closed = yield* table.look()
      yield* table.storage.change("a", {
        _tag: "PutBack",
        snapshot: { ...opened.snapshot, generation: closed.generation + 1 },
        age: 1000,
        leases: []
      })
      const stamped = yield* table.storage.change("a", {
        _tag: "PutBack",
        snapshot: { ...closed, generation: closed.generation + 5 },
        age: 0,
        leases: []
      })
      assert.isFalse(stamped.committed)
      const rows = yield* table.history()
      assert.deepStrictEqual(
        rows.map(({ at, from, override, to, why: { reason } }) => [at, from, to, override, reason]),
        [
          [MINUTE + 1000, "Open", "Open", undefined, "put back after a loss of data"],
          [MINUTE + 1000, "Closed", "Open", undefined, "put back after a loss of data"],
          [MINUTE + 1000, "Open", "Closed", undefined, "by hand"],
          [MINUTE, "Open", "Open", "ForcedOpen", "by hand"],
          [MINUTE, "HalfOpen", "Open", undefined, "a probe failed"],
          [MINUTE, "Open", "HalfOpen", undefined, "the open time is over"],
          [0, "Closed", "Open", undefined, "5 consecutive failures"]
        ]
      )
      assert.deepStrictEqual(rows[4]?.why.evidence, { n: 1 })
      assert.deepStrictEqual(rows[2]?.why.actor, "ann")
      assert.deepStrictEqual(rows.map(({ generation }) => generation), table.announced.map(generationOf).toReversed())
    }))

  it.effect("history is bounded, newest first, and returns twenty rows by default", () =>
    Effect.gen(function*() {
      const table = new Table()
      for (let i = 0; i < 40; i++) yield* table.operate({ _tag: "Reset" })
      const { generation } = yield* table.look()
      const of = (length: number) => Array.from({ length }, (_, i) => generation - i)
      const generations = (rows: ReadonlyArray<HistoryEntry>) => rows.map(({ generation }) => generation)
      assert.deepStrictEqual(generations(table.document().history), of(32))
      assert.deepStrictEqual(generations(yield* table.storage.history("a")), of(20))
      for (const [limit, length] of [[0, 0], [5, 5], [1000, 32], [-1, 0], [undefined, 20]] as const) {
        assert.deepStrictEqual(generations(yield* table.history(limit)), of(length))
      }
    }))

  it.effect("history is forgotten with its circuit", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.operate({ _tag: "Reset" })
      table.now = IDLE
      assert.deepStrictEqual(yield* table.history(), [])
      yield* table.trip({ generation: 0 })
      assert.strictEqual((yield* table.history()).length, 1)
    }))

  it.effect("history keeps the actor who removed a circuit as long as the circuit", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.trip()
      yield* table.operate({ _tag: "Remove" })
      assert.deepStrictEqual((yield* table.history()).map(({ to }) => to), ["Closed", "Open"])
    }))
})

const generationOf = (announcement: Announcement) =>
  announcement._tag === "Changed" ? announcement.generation : undefined

describe("announcements", () => {
  it.effect("each new generation is announced, committed or not, with the view after it, and nothing else is", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.report()
      yield* table.look()
      yield* table.trip({ generation: 9 })
      assert.deepStrictEqual(table.announced, [])
      const tripped = yield* table.trip()
      assert.deepStrictEqual(table.announced, [
        { _tag: "Changed", circuit: "a", generation: tripped.snapshot.generation, snapshot: tripped.snapshot }
      ])
      table.now = MINUTE
      const asked = yield* table.ask()
      yield* table.settle({ _tag: "Ignored" }, asked.snapshot.generation)
      yield* table.ask({ sequence: 2 })
      assert.strictEqual(table.announced.length, 2, "the second lease is of the same round")
      assert.deepStrictEqual(yield* Stream.runCollect(table.storage.changes), table.announced)
    }))

  it.effect("a failing announcement neither undoes the change nor fails its author", () =>
    Effect.gen(function*() {
      const table = new Table()
      table.announcing = Effect.fail(unavailable)
      assert.isTrue((yield* table.trip()).committed)
      assert.strictEqual((yield* table.look()).state._tag, "Open")
    }))

  it.effect("a change that was not written is not announced", () =>
    Effect.gen(function*() {
      const table = new Table()
      table.trouble.push(() => Effect.fail(unavailable))
      yield* failsAs(table.trip(), "change", "Unavailable")
      assert.deepStrictEqual([table.announced.length, table.rows.size], [0, 0])
    }))

  it.effect("changes are empty without a push", () =>
    Effect.gen(function*() {
      const table = new Table()
      const storage = table.make({ push: undefined })
      assert.deepStrictEqual(yield* Stream.runCollect(storage.changes), [])
      yield* storage.change("a", { _tag: "Operation", id: "x", known: 0, why, to: { _tag: "Reset" } })
      assert.strictEqual((yield* table.history()).length, 1)
    }))
})

describe("names", () => {
  const good = [
    "",
    "n".repeat(10_000),
    "__proto__",
    "constructor",
    "🦆 \u202e\0\n",
    "}x",
    "a",
    "A",
    "a ",
    "é",
    "e\u0301"
  ]

  it.effect("names that differ by a code point are different circuits", () =>
    Effect.gen(function*() {
      const table = new Table()
      for (const [i, circuit] of good.entries()) yield* table.report({ circuit, delta: failures(i + 1) })
      for (const [i, circuit] of good.entries()) {
        assert.strictEqual((yield* table.look(circuit)).lifetime.failure, i + 1)
        yield* table.operate({ _tag: "Reset" }, "x", circuit)
        assert.strictEqual((yield* table.storage.history(circuit)).length, 1)
      }
      assert.deepStrictEqual(yield* Stream.runCollect(table.storage.list), good)
      assert.deepStrictEqual(
        table.announced.map((announcement) => announcement._tag === "Changed" && announcement.circuit),
        good
      )
    }))

  it.effect("names of instances may be any text, too", () =>
    Effect.gen(function*() {
      const table = new Table()
      for (const instance of good) yield* table.report({ instance, sequence: 1 })
      for (const instance of good) yield* table.report({ instance, sequence: 1 })
      assert.strictEqual((yield* table.look()).lifetime.failure, good.length)
    }))

  for (const circuit of ["\ud800", "a\udfffb"]) {
    it.effect(`the name ${escape(circuit)} is Invalid, and never reaches the backend`, () =>
      Effect.gen(function*() {
        const table = new Table()
        const storage = table.make({ modify: () => Effect.die("the backend was called") })
        const trip: Change = { _tag: "Trip", generation: 0, asOf: 0, maxAge: 0, why }
        yield* failsAs(storage.change(circuit, trip), "change", "Invalid", circuit)
        const lease = { instance: "i", sequence: 1 }
        const probe: Probe = { _tag: "Ask", lease, generation: 0, duration: 1, probes: 1 }
        yield* failsAs(storage.probe(circuit, probe), "probe", "Invalid", circuit)
        yield* failsAs(storage.history(circuit), "history", "Invalid", circuit)
        const [synced] = yield* storage.sync([table.reported({ circuit, generation: 0 })])
        yield* failsAs(Effect.fromResult(synced!.result), "sync", "Invalid", circuit)
      }))
  }
})

describe("a circuit expires", () => {
  const goneAt = (table: Table, at: number) =>
    Effect.gen(function*() {
      assert.strictEqual(table.document().expiresAt, at)
      table.now = at - 1
      assert.isAbove((yield* table.look()).lifetime.opened + (yield* table.history()).length, 0)
      table.now = at
      assert.deepStrictEqual(yield* table.look(), snapshot(undefined, WITHINS, at, IDLE))
      assert.deepStrictEqual(yield* table.history(), [])
    })

  it.effect("a circuit expires an idle time after its last use", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.operate({ _tag: "Reset" })
      table.now = 1000
      yield* table.report()
      yield* goneAt(table, IDLE + 1000)
    }))

  it.effect("a circuit does not expire before its open time and its backoff are over", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.trip({ openFor: 3 * IDLE })
      yield* goneAt(table, 6 * IDLE)
    }))

  it.effect("a circuit does not expire before a lease ends", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.operate({ _tag: "HalfOpen" })
      yield* table.ask({ duration: 5 * IDLE })
      yield* goneAt(table, 5 * IDLE)
    }))

  it.effect("a circuit does not expire before an override, and never under one without an expiry", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.operate({ _tag: "Override", ...forced, remaining: 3 * IDLE })
      yield* goneAt(table, 3 * IDLE)
      yield* table.operate({ _tag: "Override", ...forced })
      assert.notProperty(table.document(), "expiresAt")
      table.now += 1000 * IDLE
      assert.strictEqual((yield* table.look()).override?.kind, "ForcedOpen")
    }))

  it.effect("an expired circuit is treated as deleted, whether it was deleted or not", () =>
    Effect.gen(function*() {
      const [kept, swept] = [new Table(), new Table()]
      const after: Array<ReadonlyArray<unknown>> = []
      for (const table of [kept, swept]) {
        yield* table.report()
        yield* table.trip()
        table.now = 2 * IDLE
        if (table === swept) table.rows.clear()
        yield* table.report({ generation: 0, sequence: 1 })
        yield* table.trip({ generation: 0 })
        after.push([table.document(), table.announced])
      }
      assert.deepStrictEqual(after[0], after[1])
    }))

  it.effect("a circuit expires at the time its writer set, if idle times differ", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.operate({ _tag: "Reset" })
      const patient = table.make({ idleTimeToLive: "10 hours" })
      table.now = IDLE
      assert.deepStrictEqual(yield* patient.history("a"), [])
    }))
})

describe("a corrupt document", () => {
  const corrupt = ["", "{", "null", "[]", "7", "{}", `{"record":{},"history":[]}`]
  const probe: Probe = { _tag: "Ask", lease: { instance: "i", sequence: 1 }, generation: 0, duration: 1, probes: 1 }

  it.effect("a corrupt document is Invalid for every operation, stays as it is, and is never read as absent", () =>
    Effect.gen(function*() {
      for (const text of corrupt) {
        const table = new Table()
        table.rows.set("a", text)
        yield* failsAs(table.report({ generation: 0 }), "sync", "Invalid")
        yield* failsAs(table.trip({ generation: 0 }), "change", "Invalid")
        yield* failsAs(table.operate({ _tag: "Remove" }), "change", "Invalid")
        yield* failsAs(table.storage.probe("a", probe), "probe", "Invalid")
        yield* failsAs(table.history(), "history", "Invalid")
        assert.strictEqual(table.rows.get("a"), text)
      }
    }))

  it.effect("a document with one corrupt field is Invalid", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.report()
      yield* table.trip()
      const good = table.document() as any
      const breaks: ReadonlyArray<(document: any) => void> = [
        (document) => document.record.generation = -1,
        (document) => document.record.generation = 1.5,
        (document) => document.record.format = "1",
        (document) => document.record.state = { _tag: "Open" },
        (document) => document.record.state = { _tag: "Ajar" },
        (document) => document.record.state.until = null,
        (document) => delete document.record.usedAt,
        (document) => document.record.seen = {},
        (document) => document.record.seen[0].at = "now",
        (document) => document.record.window = [{ width: 1000 }],
        (document) => document.record.override = { kind: "Ajar", reason: "", actor: "" },
        (document) => document.record.lifetime.opened = null,
        (document) => document.history[0].at = null,
        (document) => delete document.history[0].why,
        (document) => document.expiresAt = "soon"
      ]
      for (const make of breaks) {
        const document = structuredClone(good)
        make(document)
        yield* failsAs(Storage.decodeDocument(JSON.stringify(document)), "decodeDocument", "Invalid", null)
        yield* failsAs(Storage.encodeDocument(document), "encodeDocument", "Invalid", null)
      }
      assert.deepStrictEqual(yield* Storage.decodeDocument(JSON.stringify(good)), good)
    }))

  it.effect("the error of a corrupt document names the circuit, the field and the value, cut short", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.report()
      const messageFor = (field: string, value: unknown) =>
        Effect.gen(function*() {
          const text = table.rows.get("a")!
          const document = JSON.parse(text)
          document.record[field] = value
          table.rows.set("a", JSON.stringify(document))
          const { message } = yield* Effect.flip(table.history())
          table.rows.set("a", text)
          return message
        })
      const failed = "Storage invalid on history of circuit \"a\": field record"
      assert.strictEqual(yield* messageFor("openFor", "abc"), `${failed}.openFor holds "abc", expected a number`)
      assert.strictEqual(yield* messageFor("seen", {}), `${failed}.seen holds {}, expected an array`)
      assert.strictEqual(yield* messageFor("usedAt", undefined), `${failed}.usedAt is missing`)
      const long = yield* messageFor("streak", "x".repeat(1000))
      assert.strictEqual(long, `${failed}.streak holds "${"x".repeat(99)}…, expected a number`)
    }))

  it.effect("a corrupt document from `modify` is an error, not a defect", () =>
    Effect.gen(function*() {
      const table = new Table()
      for (const garbage of [{}, { record: null, history: [] }, null, "x"]) {
        const document = garbage as unknown as Storage.Document
        const storage = table.make({
          modify: (_, f) =>
            Effect.sync(() => {
              const [result, next] = f(document, 0)
              assert.strictEqual(next, document)
              return result
            })
        })
        const trip: Change = { _tag: "Trip", generation: 0, asOf: 0, maxAge: 0, opening, why }
        const error = yield* failsAs(storage.change("a", trip), "change", "Invalid")
        assert.instanceOf(error.cause, TypeError)
        const [synced] = yield* storage.sync([table.reported({ generation: 0 })])
        yield* failsAs(Effect.fromResult(synced!.result), "sync", "Invalid")
      }
    }))

  it.effect("a document that could not be decoded is never written", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* failsAs(table.report({ delta: failures(1, Infinity) }), "sync", "Invalid")
      const evidence: unknown = { n: 1n }
      const trip: Change = { _tag: "Trip", generation: 0, asOf: 0, maxAge: 0, opening, why: { ...why, evidence } }
      yield* failsAs(table.storage.change("a", trip), "change", "Invalid")
      assert.strictEqual(table.rows.size, 0)
    }))
})

describe("other versions", () => {
  it.effect("unknown fields of a document are kept, wherever they are", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.report()
      yield* table.trip()
      table.edit((document) => ({
        ...document,
        colour: "blue",
        record: { ...document.record, colour: "red", override: { ...forced, colour: "black" } },
        history: [{ ...document.history[0], colour: "green" }]
      }))
      yield* table.report()
      const { history, record, ...rest } = table.document() as any
      assert.deepStrictEqual(
        [rest.colour, record.colour, history[0].colour, record.override.colour],
        ["blue", "red", "green", "black"]
      )
      yield* table.operate({ _tag: "Reset" })
      const after = table.document() as any
      assert.deepStrictEqual([after.colour, after.record.colour, after.history[1].colour], ["blue", "red", "green"])
    }))

  /** A document as the version before throttling and samples wrote it, with this state and this window. */
  const former = (state: string, window: string): string =>
    `{"record":{"format":1,"generation":7,"state":${state},"changedAt":1000,"openings":1,"openFor":60000,"hintUntil":0,
      "why":{"reason":"5 consecutive failures","evidence":{"by":"instance","instance":"i"}},
      "lifetime":{"success":3,"failure":5,"ignored":0,"timeout":0,"slow":0,"rejected":2,"opened":1,
        "lastFailureAt":900,"lastOpenedAt":1000},
      "window":${window},"streak":1,"seen":[{"kind":"report","instance":"i","sequence":0,"at":900}],"usedAt":1000},
      "history":[{"generation":7,"at":1000,"from":"Closed","to":"Open","why":{"reason":"5 consecutive failures"}}]}`

  it.effect("a document of before throttling is read as one of which nothing was shed, and counts on", () =>
    Effect.gen(function*() {
      const table = new Table()
      table.now = 2000
      table.rows.set("a", former(`{"_tag":"Closed"}`, `[{"width":1000,"index":1,"success":3,"failure":1,"slow":0}]`))
      const { streak, totals } = yield* table.look()
      assert.deepStrictEqual([streak, totals[0]], [1, { success: 3, failure: 1, slow: 0 }])
      const shed = { ...noDelta, buckets: [{ age: 0, success: 0, failure: 0, slow: 0, shed: 4 }] }
      const { snapshot } = yield* table.report({ delta: shed })
      assert.deepStrictEqual(snapshot.totals[0], { success: 3, failure: 1, slow: 0, shed: 4 })
    }))

  it.effect("a half-open round of before samples is judged by one, as of no failed probe", () =>
    Effect.gen(function*() {
      const table = new Table()
      table.now = 2000
      const leases = [1, 2].map((sequence) => `{"instance":"i","sequence":${sequence},"until":60000}`)
      table.rows.set("a", former(`{"_tag":"HalfOpen","leases":[${leases}],"successes":1}`, "[]"))
      const failed = { _tag: "Failure", opening, hint: 0, why, failures: 2 } as const
      const { snapshot } = yield* table.settle(failed, 7)
      assert.deepInclude(snapshot.state, { _tag: "HalfOpen", live: 1, successes: 1, failures: 1 })
      assert.strictEqual((yield* table.settle(failed, 7, 2)).snapshot.state._tag, "Open")
    }))

  it.effect("a document of a newer format is read and never written", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.trip()
      table.edit(({ expiresAt: _, ...document }) => ({
        ...document,
        record: { ...document.record, format: FORMAT + 1 }
      }))
      const row = table.rows.get("a")
      table.now = MINUTE
      const view = yield* table.look()
      assert.deepStrictEqual([view.format, view.state], [FORMAT + 1, { _tag: "Open", remaining: 0 }])
      assert.strictEqual((yield* table.history()).length, 1)
      assert.strictEqual((yield* table.report()).reported, "Refused")
      assert.isFalse((yield* table.trip()).committed)
      assert.isFalse((yield* table.ask()).granted)
      yield* failsAs(table.operate({ _tag: "Reset" }), "change", "Denied")
      table.now = 100 * IDLE
      assert.strictEqual((yield* table.look()).state._tag, "Open", "the newer version decides when it ends")
      assert.deepStrictEqual([table.rows.get("a"), table.announced.length], [row, 1])
      yield* failsAs(new Table().operate({ _tag: "Import", snapshot: view }), "change", "Denied")
    }))

  it.effect("a document of a newer format that has expired is read as absent", () =>
    Effect.gen(function*() {
      const table = new Table()
      yield* table.trip()
      table.edit((document) => ({ ...document, expiresAt: 10, record: { ...document.record, format: FORMAT + 1 } }))
      table.now = 9
      assert.strictEqual((yield* table.look()).state._tag, "Open")
      table.now = 10
      assert.strictEqual((yield* table.look()).state._tag, "Closed")
      assert.strictEqual((yield* table.report({ generation: 0 })).reported, "Counted")
      assert.strictEqual(table.document().record.format, FORMAT)
    }))
})

describe("modify", () => {
  it.effect("modify may run a transition again: the last run counts and is announced once", () =>
    Effect.gen(function*() {
      const table = new Table()
      const other: { answer?: { readonly committed: boolean } } = {}
      table.trouble.push(() => Effect.map(table.trip({ generation: 0 }), (answer) => other.answer = answer))
      const { committed, snapshot } = yield* table.trip({ generation: 0 })
      assert.deepStrictEqual([committed, other.answer?.committed], [false, true])
      assert.deepStrictEqual([table.writes, table.announced.length, (yield* table.history()).length], [1, 1, 1])
      assert.strictEqual(snapshot.state._tag, "Open")
      table.trouble.push(() => table.report({ instance: "j" }), () => table.report({ instance: "k" }))
      const reported = yield* table.report()
      assert.deepStrictEqual([reported.snapshot.lifetime.failure, table.document().record.streak], [3, 3])
    }))

  it.effect("an interrupted modify writes nothing and announces nothing", () =>
    Effect.gen(function*() {
      const table = new Table()
      const stuck = Latch.makeUnsafe()
      for (const run of [table.trip(), table.report(), table.history(), table.ask()]) {
        table.trouble.push(() => stuck.await)
        const fiber = yield* Effect.forkChild(run as Effect.Effect<unknown, unknown>, { startImmediately: true })
        yield* Fiber.interrupt(fiber)
      }
      yield* stuck.open
      assert.deepStrictEqual([table.rows.size, table.announced.length], [0, 0])
      assert.isTrue((yield* table.trip()).committed)
    }))

  it.effect("the error of a failing modify has the operation, the circuit and modify's own cause", () =>
    Effect.gen(function*() {
      const table = new Table()
      for (
        const [operation, run] of [
          ["sync", table.report({ generation: 0 })],
          ["change", table.trip()],
          ["probe", table.ask()],
          ["history", table.history()]
        ] as const
      ) {
        table.trouble.push(() => Effect.fail(unavailable))
        const error = yield* failsAs(run as Effect.Effect<unknown, Storage.StorageError>, operation, "Unavailable")
        assert.strictEqual(error.cause, "gone")
      }
      assert.strictEqual(table.rows.size, 0)
    }))

  it.effect("a failing list is a StorageError of list", () =>
    Effect.gen(function*() {
      const storage = new Table().make({ names: Stream.fail(unavailable) })
      yield* failsAs(Stream.runDrain(storage.list), "list", "Unavailable", null)
    }))

  it.effect("modify is not called before the operation runs", () =>
    Effect.gen(function*() {
      const table = new Table()
      const trip = table.trip()
      assert.strictEqual(table.rows.size, 0)
      yield* trip
      assert.strictEqual(table.rows.size, 1)
    }))
})

describe("fromDocument", () => {
  it("fromDocument returns its backend and capabilities, with an idle time of an hour by default", () => {
    const { backend, capabilities, idleTimeToLive } = new Table().storage
    assert.deepStrictEqual([backend, capabilities.shared, Duration.toHours(idleTimeToLive)], ["table", true, 1])
    assert.strictEqual(Duration.toMinutes(new Table().make({ idleTimeToLive: "2 minutes" }).idleTimeToLive), 2)
  })

  for (const idleTimeToLive of [0, 999, -1, NaN, Infinity, "a while", "1000 days"] as const) {
    it(`fromDocument refuses an idle time of ${idleTimeToLive} at once, with field, value and range`, () => {
      assert.throws(
        () => new Table().make({ idleTimeToLive: idleTimeToLive as never }),
        /^Storage "table": idleTimeToLive must be a finite duration from 1000 ms to 31536000000 ms, got /
      )
    })
  }
})

const Step = Schema.Struct({
  op: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 13 })),
  n: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 11 }))
})

describe("the document and the record", () => {
  it.effect.prop(
    "the document and the record answer alike, with history and an announcement for each generation, after random operations",
    [Schema.Array(Step).check(Schema.isMaxLength(60))],
    ([steps]) =>
      Effect.gen(function*() {
        const table = new Table()
        let record: CircuitRecord | undefined
        let rows: ReadonlyArray<number> = []
        const announced: Array<number> = []
        const views: Array<Snapshot> = [snapshot(undefined, [], 0, IDLE)]
        let sequence = 0

        for (const { n, op } of steps) {
          const { now } = table
          const view = views[Math.max(0, views.length - 1 - (n % 4 === 3 ? n : 0))]!
          const { generation } = view
          const step = <A>(
            actual: Effect.Effect<A, Storage.StorageError>,
            { record: next, ...answer }: { readonly record: CircuitRecord | undefined },
            withins: ReadonlyArray<number> = []
          ) =>
            Effect.gen(function*() {
              const before = snapshot(record, [], now, IDLE).generation
              if (before === 0) rows = []
              record = plain(next)
              const after = snapshot(record, withins, now, IDLE)
              if (after.generation !== before) {
                rows = [after.generation, ...rows].slice(0, 32)
                announced.push(after.generation)
              }
              assert.deepStrictEqual(plain(yield* actual), plain({ ...answer, snapshot: after }) as never)
              if (record !== undefined && table.rows.size > 0) {
                assert.deepStrictEqual(table.document().record, record)
              }
              views.push(after)
            })
          const changed = (input: Change) => step(table.storage.change("a", input), change(record, input, now, IDLE))
          const operated = (to: OperationTo) =>
            changed({ _tag: "Operation", id: `${n > 9 ? sequence : ++sequence}`, known: generation, why: author, to })

          if (op < 3) {
            const withins = n % 2 === 0 ? WITHINS : []
            const delta = n === 0 ? noDelta : failures(n, n === 5 ? 90_000 : 0)
            const input = { instance: `${n % 3}`, sequence: n > 9 ? sequence : ++sequence, generation, delta, withins }
            yield* step(table.sync({ circuit: "a", ...input }), report(record, input, now, IDLE), withins)
          } else if (op < 5) {
            const how = n === 0 ? undefined : { openFor: n * 10_000, maxOpenFor: MINUTE }
            yield* changed({ _tag: "Trip", generation, asOf: view.asOf, maxAge: 2000, opening: how, why })
          } else if (op === 5) {
            yield* operated(
              ([
                { _tag: "Override", ...forced, remaining: n % 2 === 0 ? undefined : n * IDLE },
                { _tag: "ClearOverride" },
                { _tag: "Reset" },
                { _tag: "HalfOpen" },
                { _tag: "Remove" },
                { _tag: "Import", snapshot: view }
              ] satisfies Array<OperationTo>)[n % 6]!
            )
          } else if (op === 6) {
            yield* changed({ _tag: "PutBack", snapshot: view, age: now - view.asOf, leases: [] })
          } else if (op < 9) {
            const lease = { instance: `${n % 3}`, sequence: n > 9 ? sequence : ++sequence }
            const input = { lease, generation, duration: n === 5 ? 3 * IDLE : 5000, probes: 2 }
            yield* step(table.storage.probe("a", { _tag: "Ask", ...input }), ask(record, input, now, IDLE))
          } else if (op < 11) {
            const { state } = record ?? created(now)
            const lease = state._tag === "HalfOpen" ? state.leases[n % 2] : undefined
            const outcome =
              ([success, { _tag: "Failure", opening, hint: 0, why }, { _tag: "Ignored" }] as const)[n % 3]!
            const input = { lease: lease ?? { instance: "0", sequence }, generation, outcome }
            const { record: next, settled } = settle(record, input, now, IDLE)
            yield* step(
              table.storage.probe("a", { _tag: "Settle", ...input }),
              { record: next, granted: settled } as { readonly record: CircuitRecord | undefined }
            )
          } else {
            table.now += [0, 1, 5000, 10_000, 20_000, 60_000, 60_000, 60_000, 120_000, IDLE - 1, IDLE, 3 * IDLE][n]!
          }
          const live = snapshot(record, [], table.now, IDLE).generation
          assert.deepStrictEqual(
            (yield* table.history(100)).map(({ generation }) => generation),
            live === 0 ? [] : rows
          )
          assert.deepStrictEqual(table.announced.map(generationOf), announced)
        }
      }),
    { arbitrary: { runs: 300, size: 60 } }
  )
})
