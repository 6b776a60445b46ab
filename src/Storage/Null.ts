/**
 * No storage at all. Each breaker decides on its own evidence alone, and an operator's act applies to that one breaker.
 * Any name is accepted, because none is kept. Called directly, it counts no report but answers `Counted`, commits no
 * trip, grants no probe, and fails an operation with `Denied`.
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

const unwritten = (withins: ReadonlyArray<number>): Snapshot => snapshot(undefined, withins, 0, Infinity)

/**
 * Fails open: every circuit is Closed at generation 0.
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
      result: Result.succeed({ reported: "Counted", snapshot: unwritten(withins) })
    }))),
  change: (circuit, { _tag }) =>
    _tag === "Operation"
      ? Effect.fail(
        new StorageError({
          operation: "change",
          circuit,
          reason: "Denied",
          cause: "the null storage keeps no circuits"
        })
      )
      : Effect.succeed({ committed: false, snapshot: unwritten([]) }),
  probe: () => Effect.succeed({ granted: false, snapshot: unwritten([]) }),
  changes: Stream.empty,
  list: Stream.empty,
  history: () => Effect.succeed([])
})
