/**
 * Circuits in the memory of one process: gone when it ends, shared with no other.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import { type Document, fromDocument, idleTime } from "./Document.ts"
import { type Announcement, Storage } from "./Storage.ts"

/** How many changes wait for one who is slow to hear of them before the oldest is dropped. */
const CAPACITY = 1024

/** An announcement with its number, from which whoever hears it sees that some were dropped before it. */
interface Numbered {
  readonly announcement: Announcement
  readonly number: number
}

const subscribed: Announcement = { _tag: "Subscribed" }

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** After how long without use a circuit is forgotten, from a second to a year. Default 1 hour. */
  readonly idleTimeToLive?: Duration.Input | undefined
}

/**
 * A memory of its own, for whoever is given it. Throws a `RangeError` for an idle time that makes no sense.
 *
 * **Details**
 *
 * Its operations complete at once, without yielding, and go on when the scope it was made in has closed. It has no timer: what
 * has expired is forgotten by and by as it is used.
 *
 * **Gotchas**
 *
 * - It keeps the `Clock` that was there when it was made, and goes on from the time that it was then: setting the wall clock
 *   moves no open time and no lease.
 * - Two of them share nothing: breakers that are to share their circuits need the same one.
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
    const isExpired = ({ expiresAt = Infinity }: Document, now: number) => now >= expiresAt
    let sweep = documents.entries()
    // Two for each that can have been added, so that it gets through.
    const forgetSome = (now: number) => {
      for (let i = 0; i < 2; i++) {
        const { done, value } = sweep.next()
        if (done === true) sweep = documents.entries()
        else if (isExpired(value[1], now)) documents.delete(value[0])
      }
    }

    const pubsub = yield* PubSub.sliding<Numbered>(CAPACITY)
    let announced = 0

    return fromDocument({
      backend: "memory",
      capabilities: { shared: false, durable: false, pushes: true, history: true, fences: true },
      idleTimeToLive,
      modify: (circuit, f) =>
        Effect.sync(() => {
          const now = time()
          forgetSome(now)
          const [result, document] = f(documents.get(circuit), now)
          if (document !== undefined) documents.set(circuit, document)
          return result
        }),
      names: Stream.suspend(() => {
        const now = time()
        return Stream.fromIterable(
          [...documents].flatMap(([name, document]) => isExpired(document, now) ? [] : [name])
        )
      }),
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
 * The memory of this process, where a circuit is forgotten after an hour without use. For another idle time, make a layer of
 * `make`: `Layer.effect(Storage, make({ idleTimeToLive: "10 minutes" }))`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Storage> = Layer.effect(Storage, make())
