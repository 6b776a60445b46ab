/**
 * Flushes directories: a file that was linked, renamed or removed outlasts a power cut only once its directory is
 * flushed.
 *
 * Invariant: `#unflushed` holds the directories whose last flush failed. What was done in them is visible and not yet
 * durable, so `flushPending` runs before anything is answered that may build on it.
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import { isNotFound } from "./FileError.ts"

export class DirectoryFlush {
  readonly #fs: FileSystem.FileSystem
  readonly #unflushed = new Set<string>()

  constructor(fs: FileSystem.FileSystem) {
    this.#fs = fs
  }

  /** Flushes a directory. If that fails, `flushPending` tries again. */
  flush(directory: string): Effect.Effect<void, PlatformError> {
    return this.tryFlush(directory).pipe(
      Effect.tapError((error) =>
        Effect.sync(() => isNotFound(error) ? this.#unflushed.delete(directory) : this.#unflushed.add(directory))
      ),
      Effect.tap(() => Effect.sync(() => this.#unflushed.delete(directory)))
    )
  }

  /** Flushes a directory. If that fails, nothing tries again. */
  tryFlush(directory: string): Effect.Effect<void, PlatformError> {
    return Effect.scoped(Effect.flatMap(this.#fs.open(directory), (file) => file.sync))
  }

  /** Flushes the directories that could not be flushed before. One that is gone needs no flush. */
  get flushPending(): Effect.Effect<void, PlatformError> {
    return Effect.suspend(() =>
      Effect.forEach(
        [...this.#unflushed],
        (directory) => Effect.catchIf(this.flush(directory), isNotFound, () => Effect.void),
        { discard: true }
      )
    )
  }
}
