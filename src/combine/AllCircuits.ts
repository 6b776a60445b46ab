/** The circuits of two storages, for work that covers all of them. */
import * as Stream from "effect/Stream"
import { CIRCUITS_PER_REQUEST } from "../internal/Bounds.ts"
import type { Storage, StorageError } from "../Storage/Storage.ts"

/**
 * The names of all circuits of both storages, each once, in batches. If one storage cannot name all of its circuits, the
 * stream has what both named, and then fails.
 */
export const circuitsOf = (from: Storage, to: Storage): Stream.Stream<ReadonlyArray<string>, StorageError> =>
  Stream.suspend(() => {
    const seen = new Set<string>()
    const named = from.list.pipe(Stream.catch((error) => Stream.concat(to.list, Stream.fail(error))))
    return Stream.concat(named, to.list).pipe(
      Stream.filter((circuit) => !seen.has(circuit) && seen.add(circuit).size > 0),
      Stream.grouped(CIRCUITS_PER_REQUEST)
    )
  })
