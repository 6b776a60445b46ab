/**
 * No storage at all: each breaker is alone with what it saw itself, and what an operator wants is done to that one breaker. It
 * takes any name, for it keeps none. Who asks it directly is told that reports count, that no trip is committed and no probe
 * granted, and that an operation is `Denied`.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { type Snapshot, snapshot } from "../core/Record.ts"
import { Storage, StorageError } from "./Storage.ts"

const untouched = (withins: ReadonlyArray<number>): Snapshot => snapshot(undefined, withins, 0, Infinity)

/**
 * Fails open: every circuit is Closed at generation 0, whoever asks.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Storage> = Layer.succeed(Storage, {
  backend: "null",
  capabilities: { shared: false, durable: false, pushes: false, history: false, fences: false },
  idleTimeToLive: Duration.hours(1),
  sync: (reports) =>
    Effect.succeed(reports.map(({ circuit, withins }) => ({
      circuit,
      result: Result.succeed({ reported: "Counted", snapshot: untouched(withins) })
    }))),
  change: (circuit, { _tag }) =>
    _tag === "Operation"
      ? Effect.fail(new StorageError({ operation: "change", circuit, reason: "Denied", cause: "there is no storage" }))
      : Effect.succeed({ committed: false, snapshot: untouched([]) }),
  probe: () => Effect.succeed({ granted: false, snapshot: untouched([]) }),
  changes: Stream.empty,
  list: Stream.empty,
  history: () => Effect.succeed([])
})
