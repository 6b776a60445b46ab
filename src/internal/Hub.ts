/** Hands events to whoever listens: nothing is made or kept where nobody does, and a slow listener loses the oldest. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Event } from "../Event.ts"

/** How many events wait for one listener before the oldest is dropped. */
export const CAPACITY = 1024

interface Listener {
  readonly queue: Queue.Queue<{ readonly event: Event; readonly lost: number }>
  /** How many were dropped since it began to listen. */
  lost: number
}

export class Hub {
  readonly #listeners = new Set<Listener>()

  get listening(): boolean {
    return this.#listeners.size > 0
  }

  publish(event: Event): void {
    for (const listener of this.#listeners) {
      if (Queue.sizeUnsafe(listener.queue) >= CAPACITY) listener.lost++
      Queue.offerUnsafe(listener.queue, { event, lost: listener.lost })
    }
  }

  readonly events: Stream.Stream<Event> = Stream.unwrap(Effect.map(
    Effect.acquireRelease(
      Effect.map(Queue.sliding<{ readonly event: Event; readonly lost: number }>(CAPACITY), (queue) => {
        const listener: Listener = { queue, lost: 0 }
        this.#listeners.add(listener)
        return listener
      }),
      (listener) => Effect.sync(() => this.#listeners.delete(listener))
    ),
    ({ queue }) =>
      Stream.mapAccum(Stream.fromQueue(queue), () => 0, (told, { event, lost }) => [
        lost,
        lost > told ? [{ _tag: "Lost", count: lost - told }, event] : [event]
      ])
  ))
}
