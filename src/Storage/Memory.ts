/**
 * Circuits in the memory of one process. They end with the process, and no other process sees them.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type { StorageMillis } from "../core/Time.ts"
import { newId } from "../internal/Ids.ts"
import { type Document, type DocumentBells, fromDocument, idleTime } from "./Document.ts"
import { type Announcement, Storage } from "./Storage.ts"

/** How many changes are buffered for a slow subscriber before the oldest is dropped. */
const CAPACITY = 1024

/** Changes that are older than this are not told to who polls. */
const BELL_MILLIS = 60_000

/** The circuits that rang in the last minute, and when. */
class Rung {
  readonly #epoch = newId()
  /** In the order in which they rang. */
  readonly #times = new Map<string, StorageMillis>()
  #lastRungAt: StorageMillis = 0

  ring(circuit: string, now: StorageMillis): void {
    this.#times.delete(circuit)
    this.#times.set(circuit, now)
    this.#lastRungAt = now
    for (const [oldest, rungAt] of this.#times) {
      if (now - rungAt <= BELL_MILLIS) return
      this.#times.delete(oldest)
    }
  }

  since(
    from: StorageMillis | undefined,
    now: StorageMillis,
    documentOf: (circuit: string) => Document | undefined
  ): DocumentBells {
    const found = from === undefined || now - from > BELL_MILLIS ? "all" : [...this.#times].flatMap(([circuit, at]) => {
      const document = at < from ? undefined : documentOf(circuit)
      return document === undefined ? [] : [[circuit, document] as const]
    })
    return { epoch: this.#epoch, now, lastRungAt: this.#lastRungAt, rung: found }
  }
}

/** An announcement with its number. A gap in the numbers tells a subscriber that announcements were dropped. */
interface Numbered {
  readonly announcement: Announcement
  readonly number: number
}

const subscribed: Announcement = { _tag: "Subscribed" }

/**
 * How long circuits are kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** After how long without use a circuit is forgotten: from 1 second to 1 year. Default 1 hour. */
  readonly idleTimeToLive?: Duration.Input | undefined
}

/**
 * Makes a storage in memory, separate from all others. Throws a `RangeError` unless the idle time lies between 1 second
 * and 1 year.
 *
 * **Details**
 *
 * Its operations complete at once, without yielding, and keep working after the scope it was made in has closed. It has
 * no timer: each operation also deletes some of the circuits that have expired.
 *
 * **Gotchas**
 *
 * - It keeps the `Clock` that it was made with, and advances by that clock's monotonic time only. Setting the wall
 *   clock changes no open time and no lease.
 * - Two storages in memory share nothing. Breakers that share circuits need the same one.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): Effect.Effect<Storage> => {
  const idleTimeToLive = idleTime("memory", options.idleTimeToLive)
  return Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const origin = clock.currentTimeMillisUnsafe()
    const start = clock.monotonicTimeNanosUnsafe()
    const time = () => origin + Number(clock.monotonicTimeNanosUnsafe() - start) / 1e6

    const documents = new Map<string, Document>()
    const isExpired = ({ expiresAt = Infinity }: Document, now: StorageMillis) => now >= expiresAt
    let sweep = documents.entries()
    // Two for each document that an operation can add, so that the sweep keeps up.
    const deleteSomeExpired = (now: StorageMillis) => {
      for (let i = 0; i < 2; i++) {
        const { done, value } = sweep.next()
        if (done === true) sweep = documents.entries()
        else if (isExpired(value[1], now)) documents.delete(value[0])
      }
    }

    const rung = new Rung()
    const pubsub = yield* PubSub.sliding<Numbered>(CAPACITY)
    let announced = 0

    return fromDocument({
      backend: "memory",
      capabilities: { shared: false, durable: false, pushes: true, history: true, fences: true, bells: true },
      idleTimeToLive,
      modify: (circuit, f) =>
        Effect.sync(() => {
          const now = time()
          deleteSomeExpired(now)
          const before = documents.get(circuit)
          const [result, document] = f(before, now)
          if (document === undefined) return result
          documents.set(circuit, document)
          if (document.rungAt !== before?.rungAt) rung.ring(circuit, now)
          return result
        }),
      names: Stream.suspend(() => {
        const now = time()
        return Stream.fromIterable(
          [...documents].flatMap(([name, document]) => isExpired(document, now) ? [] : [name])
        )
      }),
      bells: (since) => Effect.sync(() => rung.since(since, time(), (circuit) => documents.get(circuit))),
      push: {
        announce: (announcement) => Effect.suspend(() => PubSub.publish(pubsub, { announcement, number: announced++ })),
        changes: Stream.unwrap(Effect.map(PubSub.subscribe(pubsub), (subscription) => {
          const first = announced
          return Stream.concat(
            Stream.succeed(subscribed),
            Stream.mapAccum(
              Stream.fromSubscription(subscription),
              () => first,
              (expected, { announcement, number }) => [
                number + 1,
                number > expected ? [subscribed, announcement] : [announcement]
              ]
            )
          )
        }))
      }
    })
  })
}

/**
 * A storage in memory that forgets a circuit after 1 hour without use. For another idle time, use `make`:
 * `Layer.effect(Storage, make({ idleTimeToLive: "10 minutes" }))`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Storage> = Layer.effect(Storage, make())
