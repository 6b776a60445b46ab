/** Publishes events to listeners. Without a listener no event is made, and a slow listener loses the oldest. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Event } from "../Event.ts"

/** The most events that wait for one listener. Beyond that the oldest is dropped. */
export const CAPACITY = 1024

/** An event with its number: a gap in the numbers shows how many were lost. */
interface Numbered {
  readonly event: Event
  readonly number: number
}

interface Listener {
  readonly queue: Queue.Queue<Numbered>
  /** The number of the next event, counted since it began to listen. */
  count: number
}

export class Hub {
  readonly #listeners = new Set<Listener>()

  get listening(): boolean {
    return this.#listeners.size > 0
  }

  publish(event: Event): void {
    for (const listener of this.#listeners) {
      Queue.offerUnsafe(listener.queue, { event, number: listener.count++ })
    }
  }

  readonly events: Stream.Stream<Event> = Stream.unwrap(Effect.map(
    Effect.acquireRelease(
      Effect.map(Queue.sliding<Numbered>(CAPACITY), (queue) => {
        const listener: Listener = { queue, count: 0 }
        this.#listeners.add(listener)
        return listener
      }),
      (listener) => Effect.sync(() => this.#listeners.delete(listener))
    ),
    ({ queue }) =>
      Stream.mapAccum(Stream.fromQueue(queue), () => 0, (expected, { event, number }) => [
        number + 1,
        number > expected ? [{ _tag: "Lost", count: number - expected }, event] : [event]
      ])
  ))
}
