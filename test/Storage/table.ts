/**
 * A table of texts that compares and sets, as a server's would: it outlives the storages on it, several storages can
 * share it, and no operation answers synchronously. Below are storages that use it wrongly.
 */
import { Clock, Effect, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { CircuitRecord } from "../../src/core/Record.ts"
import type * as Conformance from "../../src/Storage/Conformance.ts"
import {
  decodeDocument,
  type Document,
  type DocumentBells,
  encodeDocument,
  fromDocument,
  type Modify
} from "../../src/Storage/Document.ts"
import { type Capabilities, Storage, StorageError } from "../../src/Storage/Storage.ts"

const capabilities: Capabilities = {
  shared: true,
  durable: true,
  pushes: false,
  history: true,
  fences: true,
  bells: true
}

class Table {
  readonly texts = new Map<string, string>()
  isDown = false

  private readonly answer = <A>(f: () => A): Effect.Effect<A, StorageError> =>
    Effect.suspend(() =>
      this.isDown
        ? Effect.fail(new StorageError({ operation: "answer", reason: "Unavailable", cause: "cut off" }))
        : Effect.sync(f)
    ).pipe(Effect.tap(Effect.yieldNow))

  readonly get = (key: string) => this.answer(() => this.texts.get(key))
  readonly compareAndSet = (key: string, was: string | undefined, text: string) =>
    this.answer(() => this.texts.get(key) === was && this.texts.set(key, text) !== undefined)
  readonly set = (key: string, text: string) => this.answer(() => this.texts.set(key, text))
  readonly all = this.answer(() => [...this.texts])
  readonly names = Stream.fromIterableEffect(this.answer(() => [...this.texts.keys()]))
}

/** The operations that a wrong storage replaces. */
interface Uses {
  readonly get: (table: Table, circuit: string) => Effect.Effect<string | undefined, StorageError>
  readonly decode: (text: string) => Effect.Effect<Document | undefined, StorageError>
  readonly write: (
    table: Table,
    circuit: string,
    was: string | undefined,
    text: string
  ) => Effect.Effect<boolean, StorageError>
  readonly around: (storage: Storage, table: Table) => Storage
}

const correct: Uses = {
  get: (table, circuit) => table.get(circuit),
  decode: decodeDocument,
  write: (table, circuit, was, text) => table.compareAndSet(circuit, was, text),
  around: (storage) => storage
}

const modifyOf = (table: Table, { decode, get, write }: Uses): Modify =>
  Effect.fnUntraced(function*(circuit, f) {
    while (true) {
      const text = yield* get(table, circuit)
      const document = text === undefined ? undefined : yield* decode(text)
      const [result, next] = f(document, yield* Clock.currentTimeMillis)
      if (next === undefined || next === document) return result
      if (yield* write(table, circuit, text, yield* encodeDocument(next))) return result
    }
  })

/** Reads all documents, because a test has few. Those of earlier tests rang later than now, because each test's time begins at 0. */
const bellsOf = (table: Table) => (since: number | undefined): Effect.Effect<DocumentBells, StorageError> =>
  Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    const found = yield* Effect.forEach(yield* table.all, ([circuit, text]) =>
      Effect.match(decodeDocument(text), {
        onFailure: () => undefined,
        onSuccess: (document) => ({ circuit, document, rungAt: document.rungAt ?? Infinity })
      }))
    const rung = found.filter((one) => one !== undefined).filter(({ rungAt }) => rungAt <= now)
    return {
      epoch: "table",
      now,
      lastRungAt: Math.max(0, ...rung.map(({ rungAt }) => rungAt)),
      rung: since === undefined || since < now - 60_000
        ? "all"
        : rung.filter(({ rungAt }) => rungAt >= since).map(({ circuit, document }) => [circuit, document] as const)
    }
  })

const paramsOf = (wrong: Partial<Uses>): Conformance.Params => {
  const uses = { ...correct, ...wrong }
  const table = new Table()
  return {
    capabilities,
    layer: ({ idleTimeToLive }) =>
      Layer.sync(Storage, () =>
        uses.around(
          fromDocument({
            backend: "table",
            capabilities,
            idleTimeToLive,
            names: table.names,
            bells: bellsOf(table),
            modify: modifyOf(table, uses)
          }),
          table
        )),
    advance: TestClock.adjust,
    maxBlocking: "100 millis",
    rewrite: (circuit, f) =>
      Effect.sync(() => {
        const document = JSON.parse(table.texts.get(circuit) ?? "null")
        table.texts.set(circuit, JSON.stringify({ ...document, record: f(document.record) }))
      }),
    outage: Effect.acquireRelease(
      Effect.sync(() => {
        table.isDown = true
      }),
      () =>
        Effect.sync(() => {
          table.isDown = false
        })
    )
  }
}

/** A correct storage. */
export const table = paramsOf({})

/** A correct storage on an empty table. */
export const another = () => paramsOf({})

export const withoutCompareAndSet = paramsOf({
  write: (table, circuit, _, text) => Effect.map(table.set(circuit, text), () => true)
})

export const deletesOnRemove = paramsOf({
  around: (storage, table) => ({
    ...storage,
    change: (circuit, change) =>
      Effect.tap(storage.change(circuit, change), () =>
        Effect.sync(() => {
          if (change._tag === "Operation" && change.to._tag === "Remove") table.texts.delete(circuit)
        }))
  })
})

const lastWrites = new Map<string, number>()
export const deletesWhenIdle = paramsOf({
  get: (table, circuit) =>
    Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => now < (lastWrites.get(circuit) ?? now) + 1000 ? table.get(circuit) : Effect.undefined
    ),
  write: (table, circuit, was, text) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      lastWrites.set(circuit, now)
      return table.compareAndSet(circuit, was, text)
    })
})

export const emptyWhenCutOff = paramsOf({
  get: (table, circuit) => table.get(circuit).pipe(Effect.orElseSucceed(() => undefined))
})

export const emptyWhenDamaged = paramsOf({
  decode: (text) => decodeDocument(text).pipe(Effect.orElseSucceed(() => undefined))
})

export const forgetsLapsedLeases = paramsOf({
  decode: (text) =>
    Effect.zipWith(decodeDocument(text), Clock.currentTimeMillis, (document, now) => {
      const { record, record: { state } } = document
      if (state._tag !== "HalfOpen") return document
      const leases = state.leases.filter(({ until }) => now < until)
      return { ...document, record: { ...record, state: { ...state, leases } } }
    })
})

const changing = (f: (record: CircuitRecord) => CircuitRecord): Partial<Uses> => ({
  decode: (text) => Effect.map(decodeDocument(text), (document) => ({ ...document, record: f(document.record) }))
})

export const forgetsTheFormat = paramsOf(changing((record) => ({ ...record, format: 1 })))

export const keepsWhatItKnows = paramsOf(
  changing((record) => {
    const { colour: _, ...known } = record as CircuitRecord & { readonly colour?: string }
    return known
  })
)
