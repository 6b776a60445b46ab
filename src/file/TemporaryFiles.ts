/**
 * The files that are being written. Each is named by the time of its writing in Unix milliseconds, so that one that a
 * killed process left can be told by its age.
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as Path from "effect/Path"
import type { PlatformError } from "effect/PlatformError"
import { randomUUID } from "node:crypto"
import type { StorageError } from "../Storage/Storage.ts"
import { deniedError, isNotFound } from "./FileError.ts"

export interface TemporaryFile {
  readonly path: string
  /** Unix milliseconds. */
  readonly madeAt: number
  /** True if it was renamed to be removed. */
  readonly isBeingRemoved: boolean
}

const REMOVED_SUFFIX = ".aside"

const encoder = new TextEncoder()

export class TemporaryFiles {
  /** The folder that they are in. */
  readonly folder: string
  readonly #fs: FileSystem.FileSystem
  readonly #path: Path.Path

  constructor(fs: FileSystem.FileSystem, path: Path.Path, folder: string) {
    this.#fs = fs
    this.#path = path
    this.folder = folder
  }

  /** Fails with `Denied` if the folder is a link: it may lead to files of others, or to another file system. */
  get refuseLink(): Effect.Effect<void, StorageError | PlatformError> {
    return Effect.flatMap(this.#isLink, (isLink) =>
      isLink
        ? Effect.fail(
          deniedError(`${this.folder} is a symbolic link, which is not followed: replace it by a directory`)
        )
        : Effect.void)
  }

  get #isLink(): Effect.Effect<boolean, PlatformError> {
    return Effect.catchIf(
      Effect.map(this.#fs.lstat(this.folder), ({ type }) => type === "SymbolicLink"),
      isNotFound,
      () => Effect.succeed(false)
    )
  }

  /** Writes a file, flushes it, and removes it after `use`. */
  write<A, E>(
    text: string,
    now: number,
    use: (file: string) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | StorageError | PlatformError> {
    const file = this.#path.join(this.folder, `${Math.floor(now)}-${randomUUID()}`)
    const write = Effect.scoped(Effect.gen({ self: this }, function*() {
      const handle = yield* this.#fs.open(file, { flag: "wx" })
      yield* handle.writeAll(encoder.encode(text))
      yield* handle.sync
    }))
    const removed = Effect.ignore(this.#fs.remove(file, { force: true }))
    return Effect.andThen(this.refuseLink, Effect.ensuring(Effect.andThen(write, use(file)), removed))
  }

  /** All that this library wrote, oldest first; none if the folder is a link. */
  get list(): Effect.Effect<ReadonlyArray<TemporaryFile>, PlatformError> {
    return Effect.flatMap(this.#isLink, (isLink) => isLink ? Effect.succeed([]) : this.#fs.readDirectory(this.folder))
      .pipe(
        Effect.map((names) =>
          names.sort().flatMap((name): ReadonlyArray<TemporaryFile> => {
            const [, millis] = /^(\d+)-[\w-]+(?:\.folder)?(?:\.aside)?$/.exec(name) ?? []
            return millis === undefined
              ? []
              : [{
                path: this.#path.join(this.folder, name),
                madeAt: Number(millis),
                isBeingRemoved: name.endsWith(REMOVED_SUFFIX)
              }]
          })
        ),
        Effect.catchIf(isNotFound, () => Effect.succeed([]))
      )
  }

  /** Removes one. It is renamed first: a writer that is about to use it finds all of it or nothing. */
  remove({ isBeingRemoved, path }: TemporaryFile): Effect.Effect<void, PlatformError> {
    const renamed = isBeingRemoved ? path : `${path}${REMOVED_SUFFIX}`
    return Effect.andThen(
      isBeingRemoved ? Effect.void : this.#fs.rename(path, renamed),
      this.#fs.remove(renamed, { recursive: true, force: true })
    )
  }
}
