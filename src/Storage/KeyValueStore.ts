/**
 * Circuits in whatever `KeyValueStore` a program has: files, a browser's storage, a table.
 *
 * **Gotchas**
 *
 * - A key-value store gets and sets, and compares nothing: only one process may write. With several on one store the last who
 *   writes wins, so that reports are lost, a change is undone by a report that had read before it, and two may probe at once.
 *   Nothing tells them. Where processes share something, share files (`effect-breaker/Storage/File`), a database or Redis.
 * - That holds within a process, too: make one layer, and provide it to all breakers. Two of them are two writers.
 * - What a write leaves that was cut short is the store's business. `KeyValueStore.layerFileSystem` may leave half a document: the
 *   circuit is then `Invalid`, until somebody removes the key.
 * - A store that tells no `a` from `A`, as `layerFileSystem` on a disk that does not, tells no such circuits apart.
 *
 * **Example** (Circuits in a program's own store)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer, Stream } from "effect"
 * import { Breaker, Storage } from "effect-breaker"
 * import * as KeyValueStorage from "effect-breaker/Storage/KeyValueStore"
 * import { KeyValueStore } from "effect/persistence"
 *
 * const StorageLive = KeyValueStorage.layerKeyValueStore({ prefix: "breaker:", durable: false }).pipe(
 *   Layer.provideMerge(KeyValueStore.layerMemory)
 * )
 *
 * const program = Effect.gen(function*() {
 *   const payments = yield* Breaker.make("payments", {})
 *   yield* payments.override({ mode: "ForcedOpen", reason: "maintenance", actor: "ann" })
 *   const store = yield* KeyValueStore.KeyValueStore
 *   return yield* store.keys
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(StorageLive))) // => ["breaker:payments"]
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { refuse } from "../internal/Check.ts"
import { combined } from "../internal/Combined.ts"
import { decodeDocument, type Document, encodeDocument, fromDocument, idleTime, type Modify } from "./Document.ts"
import { Storage, StorageError } from "./Storage.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** What the keys of circuits begin with, at least one character. Default `circuit_breaker:`. */
  readonly prefix?: string | undefined
  /** After how long without use a circuit is forgotten, from a second to a year. Default 1 hour. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /** Whether the store outlives the process. Default `true`; say `false` for one in memory. */
  readonly durable?: boolean | undefined
  /** What it is, for people. Default `key-value`. */
  readonly backend?: string | undefined
  /**
   * Whether circuits that have expired are removed in the background: at the start, and once an idle time, at least every hour
   * and at most every minute. Default `true`.
   */
  readonly cleanUp?: boolean | undefined
}

/** Of a key, escaped: stores that make file names of keys have 255 bytes. */
const LONGEST = 200

/** What a long name begins with stays readable. */
const READABLE = 40

const escaped = (name: string): string => encodeURIComponent(name.slice(0, READABLE).toWellFormed())

const DIGEST = /~[0-9a-f]{64}$/

const digestOf = (name: string): Effect.Effect<string> =>
  Effect.map(
    // Not Node's own: the store may be a browser's.
    Effect.promise(() => crypto.subtle.digest("SHA-256", new TextEncoder().encode(name))),
    (digest) => Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("")
  )

const unavailable = (cause: unknown) => new StorageError({ operation: "key-value", reason: "Unavailable", cause })

const isExpired = ({ expiresAt = Infinity }: Document, now: number): boolean => now >= expiresAt

/** A document beside its name, where the key does not have it. */
interface Named extends Document {
  readonly circuit?: unknown
}

/**
 * A storage in a key-value store, whose clean-up ends when the scope closes. Throws a `RangeError` for options that make no sense.
 * Requests that come for a circuit while it is written are written together.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options = {}
): Effect.Effect<Storage, never, KeyValueStore.KeyValueStore | Scope.Scope> => {
  const { backend = "key-value", cleanUp = true, durable = true, prefix = "circuit_breaker:" } = options
  const idleTimeToLive = idleTime(backend, options.idleTimeToLive)
  refuse(
    `Storage ${JSON.stringify(backend)}`,
    prefix === "" || !prefix.isWellFormed() ? [{ field: "prefix", value: prefix, range: "some well-formed text" }] : []
  )
  return Effect.gen(function*() {
    const store = yield* KeyValueStore.KeyValueStore

    const isPlain = (name: string) =>
      name.length <= LONGEST && encodeURIComponent(prefix + name).length <= LONGEST && !DIGEST.test(name)
    const keyOf = (name: string) =>
      isPlain(name)
        ? Effect.succeed(prefix + name)
        : Effect.map(digestOf(name), (digest) => `${prefix}${escaped(name).slice(0, READABLE)}~${digest}`)

    const read = Effect.fnUntraced(function*(key: string) {
      const text = yield* Effect.mapError(store.get(key), unavailable)
      return text === undefined ? undefined : yield* decodeDocument(text)
    })

    const modify: Modify = combined(
      Effect.fnUntraced(function*(circuit, f) {
        const key = yield* keyOf(circuit)
        const document = yield* read(key)
        const now = yield* Clock.currentTimeMillis
        const [result, next] = f(document, now)
        if (next !== undefined && next !== document) {
          const named: Named = isPlain(circuit) ? next : { ...next, circuit }
          yield* Effect.mapError(
            Effect.flatMap(encodeDocument(named), (text) => store.set(key, text)),
            (error) => error._tag === "StorageError" ? error : unavailable(error)
          )
        } else if (document !== undefined && isExpired(document, now)) {
          yield* Effect.mapError(store.remove(key), unavailable)
        }
        return result
      }),
      ({ reason }) => reason === "Invalid"
    )

    /** The name of a key whose circuit has not expired. What makes no sense is there all the same, if its name can be told. */
    const listed = (key: string) =>
      Effect.gen(function*() {
        const document: Named | undefined = yield* read(key)
        if (document === undefined || isExpired(document, yield* Clock.currentTimeMillis)) return undefined
        const name = key.slice(prefix.length)
        return DIGEST.test(name) ? document.circuit : name
      }).pipe(
        Effect.catchIf(({ reason }) => reason === "Invalid", () =>
          Effect.succeed(DIGEST.test(key) ? undefined : key.slice(prefix.length))),
        Effect.map((name) =>
          typeof name === "string" ? name : undefined
        )
      )

    const keys = Effect.map(
      Effect.mapError(store.keys, unavailable),
      (keys) => keys.filter((key) => key.startsWith(prefix))
    )

    if (cleanUp) {
      const every = Math.min(3_600_000, Math.max(60_000, Duration.toMillis(idleTimeToLive)))
      const sweep = Effect.gen(function*() {
        for (const key of yield* keys) {
          const document: Named | undefined = yield* Effect.orElseSucceed(read(key), () => undefined)
          if (document === undefined || !isExpired(document, yield* Clock.currentTimeMillis)) continue
          const name = DIGEST.test(key) ? document.circuit : key.slice(prefix.length)
          // Looked at again, with nobody in between.
          if (typeof name === "string") yield* Effect.ignore(modify(name, (document) => [undefined, document]))
        }
      })
      yield* Effect.forkScoped(Effect.repeat(Effect.ignore(sweep, { log: "Unhandled" }), Schedule.spaced(every)))
    }

    return fromDocument({
      backend,
      capabilities: { shared: false, durable, pushes: false, history: true, fences: true },
      idleTimeToLive,
      modify,
      names: Stream.fromIterableEffect(keys).pipe(
        Stream.mapEffect(listed),
        Stream.filter((name) => name !== undefined)
      )
    })
  })
}

/**
 * Circuits in the program's `KeyValueStore`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerKeyValueStore = (
  options?: Options
): Layer.Layer<Storage, never, KeyValueStore.KeyValueStore> => Layer.effect(Storage, make(options))
