/**
 * Circuits in a directory of this host: one readable JSON document per circuit, with its backups beside it.
 *
 * **Details**
 *
 * ```text
 * .circuit_breaker/
 *   .gitignore               keeps circuits out of Git
 *   .tmp/                    files that are being written
 *   payments/
 *     1763740800000000.json  a backup
 *     1763740800000001.json  the circuit: the highest number counts
 * ```
 *
 * Every write makes a new file, flushes it and then links it into place. A process may be killed, or the host lose
 * power, at any moment: everything that was answered is there afterwards. Processes of one host share the directory
 * without locks. The file system decides who is first, so no process waits for one that was paused. Requests that
 * arrive while their circuit is being written are written together.
 *
 * The newest undamaged file is the circuit. A damaged file is skipped, with one warning in the log. If all files of a
 * circuit are damaged, its operations fail with `Invalid`: it is never taken for a circuit that does not exist.
 *
 * **Gotchas**
 *
 * - It needs a local disk with hard links, on a system that can flush a directory: Linux or macOS, and not Windows,
 *   exFAT, NFS or SMB. If the file system has no hard links, operations fail with `Denied` and say so.
 * - Symbolic links in the directory are not followed: a circuit that is one, or whose only version is one, is `Invalid`.
 *   The directory itself may be a link.
 * - Times are by the host's clock.
 * - A write waits for the disk twice. A breaker writes once per `syncEvery`, whatever the rate of its calls.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as Path from "effect/Path"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { StorageMillis } from "../core/Time.ts"
import { Circuits } from "../file/Circuits.ts"
import { Directory, type RemoveEmptyDirectory } from "../file/Directory.ts"
import { type DirectoryListing, listDirectory } from "../file/DirectoryListing.ts"
import { storageErrorOf } from "../file/FileError.ts"
import { nameOf } from "../file/FolderName.ts"
import { countIn, durationIn, refuse, YEAR_MILLIS } from "../internal/Check.ts"
import { backgroundSleep } from "../internal/Clock.ts"
import { coalesced } from "../internal/Coalesce.ts"
import { isInvalid } from "../internal/StorageErrors.ts"
import { type Document, fromDocument, idleTime } from "./Document.ts"
import { Storage, type StorageError } from "./Storage.ts"

export type { RemoveEmptyDirectory } from "../file/Directory.ts"
export type { CircuitFiles, DamagedFile, DirectoryListing as Report } from "../file/DirectoryListing.ts"

/**
 * Where the files are, and how many older ones are kept.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The directory of the circuits. The first write makes it. Default `.circuit_breaker`, in the working directory. */
  readonly directory?: string | undefined
  /** How many older documents of a circuit are kept beside the newest, from 0 to 1000. Default 3. */
  readonly backups?: number | undefined
  /** How long an older document is kept at most, from a second to a hundred years. Default 7 days. */
  readonly backupsFor?: Duration.Input | undefined
  /** A circuit that was not used for this long is forgotten, from a second to a year. Default 1 hour. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /**
   * Whether a background fiber removes expired circuits, old backups and the temporary files of killed processes: at
   * the start, and then once an `idleTimeToLive`, but at most every minute and at least every hour. Default `true`.
   */
  readonly cleanUp?: boolean | undefined
  /**
   * Removes a directory only if it is empty, which Effect's `FileSystem` cannot. Without it, expired circuits leave
   * empty folders. `FileStorageLive` passes Node's.
   */
  readonly removeEmptyDirectory?: RemoveEmptyDirectory | undefined
}

const DIRECTORY = ".circuit_breaker"

/** Folders that `list` reads at once. */
const CONCURRENCY = 16

/**
 * A storage in a directory, whose clean-up ends when the scope closes. Throws a `RangeError` for invalid options.
 * Nothing is made before the first write, so a directory that cannot be used fails the operations and not the
 * constructor.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options = {}
): Effect.Effect<Storage, never, FileSystem.FileSystem | Path.Path | Scope.Scope> => {
  const { backups = 3, backupsFor = "7 days", cleanUp = true, directory: root = DIRECTORY } = options
  const idleTimeToLive = idleTime("file", options.idleTimeToLive)
  refuse("Storage \"file\"", [
    ...root === "" ? [{ field: "directory", value: root, range: "a path" }] : [],
    ...countIn("backups", backups, 0, 1000),
    ...durationIn("backupsFor", backupsFor, 1000, 100 * YEAR_MILLIS)
  ])
  return Effect.gen(function*() {
    const directory = yield* Directory.make(root, options.removeEmptyDirectory)
    const circuits = new Circuits(directory, {
      backups,
      backupsForMillis: Duration.toMillis(Duration.fromInputUnsafe(backupsFor))
    })
    if (cleanUp) {
      const everyMillis = Math.min(3_600_000, Math.max(60_000, Duration.toMillis(idleTimeToLive)))
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.andThen(Effect.ignore(circuits.cleanUp, { log: "Unhandled" }), backgroundSleep(everyMillis))
        )
      )
    }
    return fromDocument({
      backend: "file",
      capabilities: { shared: false, durable: true, pushes: false, history: true, fences: true },
      idleTimeToLive,
      modify: coalesced(circuits.modify, isInvalid),
      names: Stream.fromIterableEffect(Effect.mapError(directory.folders, storageErrorOf)).pipe(
        Stream.mapEffect((folder) => listedName(directory, circuits, folder), { concurrency: CONCURRENCY }),
        Stream.filter((name) => name !== undefined)
      )
    })
  })
}

/** The circuit of a folder, unless it has expired. A circuit that cannot be read is listed, too. */
const listedName = (directory: Directory, circuits: Circuits, folder: string): Effect.Effect<string | undefined> =>
  Effect.gen(function*() {
    const { base, valid } = yield* circuits.read(folder)
    if (valid === undefined) return base === undefined ? undefined : nameOf(directory.nameOf(folder))
    return isExpired(valid.document, yield* Clock.currentTimeMillis) ? undefined : valid.circuit
  }).pipe(Effect.orElseSucceed(() => nameOf(directory.nameOf(folder))))

const isExpired = ({ expiresAt = Infinity }: Document, now: StorageMillis): boolean => now >= expiresAt

/**
 * Circuits in a directory, over the `FileSystem` of the program. `FileStorageLive` of
 * `effect-breaker/layers/FileStorageLive` brings Node's.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Storage, never, FileSystem.FileSystem | Path.Path> =>
  Layer.effect(Storage, make(options))

/**
 * Lists a directory of circuits: the files with their sizes and ages, backups, damaged files, and the temporary files
 * of killed processes. It reads every file and changes none. Fails if the directory cannot be read; a directory that
 * does not exist is empty.
 *
 * @category operators
 * @since 0.1.0
 */
export const report = (
  options: Pick<Options, "directory"> = {}
): Effect.Effect<DirectoryListing, StorageError, FileSystem.FileSystem | Path.Path> =>
  Effect.flatMap(Directory.make(options.directory ?? DIRECTORY), listDirectory)
