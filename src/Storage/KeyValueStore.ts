/**
 * Circuits in the program's `KeyValueStore`: files, a browser's storage, a table.
 *
 * **Gotchas**
 *
 * - A key-value store cannot compare and set, so only one process may write. If several write, the last one wins and
 *   none notices: reports are lost, a report that read earlier undoes a change, and two probes may run at once. Where
 *   processes share circuits, use files (`effect-breaker/Storage/File`), a database or Redis.
 * - The same holds within a process: make one layer and provide it to all breakers. Two layers are two writers.
 * - Whether a write that was cut short leaves a damaged value depends on the store. `KeyValueStore.layerFileSystem` may
 *   leave half a document. Operations on that circuit then fail with `Invalid` until the key is removed.
 * - A store whose keys ignore case, as `layerFileSystem` on some disks, takes circuits `a` and `A` for one.
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
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { StorageMillis } from "../core/Time.ts"
import { refuse } from "../internal/Check.ts"
import { backgroundSleep } from "../internal/Clock.ts"
import { coalesced } from "../internal/Coalesce.ts"
import { failure, isInvalid } from "../internal/StorageErrors.ts"
import { decodeDocument, type Document, encodeDocument, fromDocument, idleTime, type Modify } from "./Document.ts"
import { Storage, type StorageError } from "./Storage.ts"

/**
 * How circuits are kept in the store.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The beginning of the circuits' keys, at least one character. Default `circuit_breaker:`. */
  readonly prefix?: string | undefined
  /** A circuit that was not used for this long is forgotten, from a second to a year. Default 1 hour. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /** Whether the store outlives the process. Default `true`; pass `false` for a store in memory. */
  readonly durable?: boolean | undefined
  /** The name of the storage in logs and messages. Default `key-value`. */
  readonly backend?: string | undefined
  /**
   * Whether a background fiber removes expired circuits: at the start, and then once an `idleTimeToLive`, but at most
   * every minute and at least every hour. Default `true`.
   */
  readonly cleanUp?: boolean | undefined
}

/** The longest key, escaped. A store that uses keys as file names has 255 bytes. */
const LONGEST_KEY = 200

/** The beginning of a long name that stays readable. */
const READABLE = 40

const DIGEST = /~[0-9a-f]{64}$/

const digestOf = (name: string): Effect.Effect<string> =>
  Effect.map(
    // Not Node's: the program may run in a browser.
    Effect.promise(() => crypto.subtle.digest("SHA-256", new TextEncoder().encode(name))),
    (digest) => Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("")
  )

/** A document beside the circuit's name, which a key that ends in a digest does not have. */
interface NamedDocument extends Document {
  readonly circuit?: unknown
}

const isExpired = ({ expiresAt = Infinity }: Document, now: StorageMillis): boolean => now >= expiresAt

/** The keys of circuits: the prefix and the name, or if that is too long, the beginning of the name and its digest. */
class Keys {
  readonly #prefix: string

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  has(key: string): boolean {
    return key.startsWith(this.#prefix)
  }

  /** True if the name can be read off the key. */
  isPlain(name: string): boolean {
    return name.length <= LONGEST_KEY && encodeURIComponent(this.#prefix + name).length <= LONGEST_KEY &&
      !DIGEST.test(name)
  }

  of(name: string): Effect.Effect<string> {
    if (this.isPlain(name)) return Effect.succeed(this.#prefix + name)
    const readable = encodeURIComponent(name.slice(0, READABLE).toWellFormed()).slice(0, READABLE)
    return Effect.map(digestOf(name), (digest) => `${this.#prefix}${readable}~${digest}`)
  }

  /** The name of a key's circuit. A key that ends in a digest needs the document for it. */
  nameOf(key: string, document: NamedDocument | undefined): string | undefined {
    const name = key.slice(this.#prefix.length)
    if (!DIGEST.test(name)) return name
    return typeof document?.circuit === "string" ? document.circuit : undefined
  }
}

const request = { operation: "key-value" }

const unavailable = (cause: unknown) => failure(request, "Unavailable", cause)

const undecodable = (key: string, cause: unknown) =>
  failure(
    request,
    "Invalid",
    new Error(`key ${JSON.stringify(key)}: ${cause instanceof Error ? cause.message : cause}`, { cause })
  )

/** Circuits in a store. Only one process, and one instance of this class, may write. */
class Circuits {
  readonly #store: KeyValueStore.KeyValueStore
  readonly #keys: Keys

  constructor(store: KeyValueStore.KeyValueStore, keys: Keys) {
    this.#store = store
    this.#keys = keys
  }

  /** The requests of a circuit are coalesced: between the read and the write of one, no other writes. */
  readonly modify: Modify = coalesced(
    (circuit, f) =>
      Effect.gen({ self: this }, function*() {
        const key = yield* this.#keys.of(circuit)
        const document = yield* this.#read(key)
        const now = yield* Clock.currentTimeMillis
        const [result, next] = f(document, now)
        if (next !== undefined && next !== document) {
          const named: NamedDocument = this.#keys.isPlain(circuit) ? next : { ...next, circuit }
          const text = yield* encodeDocument(named)
          yield* Effect.mapError(this.#store.set(key, text), unavailable)
        } else if (document !== undefined && isExpired(document, now)) {
          yield* Effect.mapError(this.#store.remove(key), unavailable)
        }
        return result
      }),
    isInvalid
  )

  /** The circuits that have not expired. One whose document is invalid is listed, if its key has its name. */
  get names(): Stream.Stream<string, StorageError> {
    return Stream.fromIterableEffect(this.#ownKeys).pipe(
      Stream.mapEffect((key) =>
        Effect.gen({ self: this }, function*() {
          const document = yield* this.#read(key)
          const isListed = document !== undefined && !isExpired(document, yield* Clock.currentTimeMillis)
          return isListed ? this.#keys.nameOf(key, document) : undefined
        }).pipe(
          Effect.catchIf(isInvalid, () => Effect.succeed(this.#keys.nameOf(key, undefined)))
        )
      ),
      Stream.filter((name) => name !== undefined)
    )
  }

  /** Removes expired circuits. A key that cannot be read is left as it is. */
  get cleanUp(): Effect.Effect<void, StorageError> {
    return Effect.gen({ self: this }, function*() {
      for (const key of yield* this.#ownKeys) {
        const document = yield* Effect.orElseSucceed(this.#read(key), () => undefined)
        if (document === undefined || !isExpired(document, yield* Clock.currentTimeMillis)) continue
        const name = this.#keys.nameOf(key, document)
        // `modify` reads it again and removes it if it is still expired, with no other write in between.
        if (name !== undefined) yield* Effect.ignore(this.modify(name, (document) => [undefined, document]))
      }
    })
  }

  get #ownKeys(): Effect.Effect<ReadonlyArray<string>, StorageError> {
    return Effect.map(
      Effect.mapError(this.#store.keys, unavailable),
      (keys) => keys.filter((key) => this.#keys.has(key))
    )
  }

  #read(key: string): Effect.Effect<NamedDocument | undefined, StorageError> {
    return Effect.flatMap(
      Effect.mapError(this.#store.get(key), unavailable),
      (text) =>
        text === undefined
          ? Effect.undefined
          : Effect.mapError(decodeDocument(text), ({ cause }) => undecodable(key, cause))
    )
  }
}

/**
 * A storage in a key-value store, whose clean-up ends when the scope closes. Throws a `RangeError` for invalid options.
 * Requests that arrive while their circuit is being written are written together.
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
    const circuits = new Circuits(yield* KeyValueStore.KeyValueStore, new Keys(prefix))
    if (cleanUp) {
      const everyMillis = Math.min(3_600_000, Math.max(60_000, Duration.toMillis(idleTimeToLive)))
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.andThen(Effect.ignore(circuits.cleanUp, { log: "Unhandled" }), backgroundSleep(everyMillis))
        )
      )
    }
    return fromDocument({
      backend,
      capabilities: { shared: false, durable, pushes: false, history: true, fences: true },
      idleTimeToLive,
      modify: circuits.modify,
      names: circuits.names
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
