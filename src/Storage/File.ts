/**
 * Circuits in a directory of this host: one readable JSON document a circuit, with its backups beside it.
 *
 * **Details**
 *
 * ```text
 * .circuit_breaker/
 *   .gitignore               so that nobody checks circuits in
 *   .tmp/                    what is being written
 *   payments/
 *     1763740800000000.json  a backup
 *     1763740800000001.json  the circuit: the highest number holds
 * ```
 *
 * Every write makes a new file, which is flushed and then linked into place: a process may be killed, or lose its power, at any
 * moment, and what was answered for is there. Processes of one host share the directory without locks: the file system decides
 * who is first, so nobody waits for one that was paused. Requests that come for a circuit while it is written are written
 * together.
 *
 * The newest file that is whole is the circuit; one that is damaged is passed over, which is logged once as a warning. Where there
 * are files and none is whole, the circuit is `Invalid`, and never absent.
 *
 * **Gotchas**
 *
 * - It is for a local disk with hard links, on a system that can flush a directory: Linux and macOS, and not Windows, exFAT, NFS
 *   or SMB. Where a link is refused the operation fails, `Denied`, and says so.
 * - It goes by the host's clock.
 * - A write waits for the disk twice. Breakers write once a `syncEvery`, whatever the rate of their calls.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as Path from "effect/Path"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { circuitsIn } from "../file/Circuits.ts"
import { errorOf } from "../file/Errors.ts"
import { nameOf } from "../file/Names.ts"
import { placesIn, type RemoveEmptyDirectory } from "../file/Places.ts"
import { type Report, reportOf } from "../file/Report.ts"
import { countIn, durationIn, refuse } from "../internal/Check.ts"
import { combined } from "../internal/Combined.ts"
import { type Document, fromDocument, idleTime } from "./Document.ts"
import { Storage, type StorageError } from "./Storage.ts"

export type { RemoveEmptyDirectory } from "../file/Places.ts"
export type { CircuitFiles, DamagedFile, Report } from "../file/Report.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Where circuits are. It is made when the first is written. Default `.circuit_breaker`, in the working directory. */
  readonly directory?: string | undefined
  /** How many older documents of a circuit are kept beside the newest, from 0 to 1000. Default 3. */
  readonly backups?: number | undefined
  /** For how long at most, from a second to a hundred years. Default 7 days. */
  readonly backupsFor?: Duration.Input | undefined
  /** After how long without use a circuit is forgotten, from a second to a year. Default 1 hour. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /**
   * Whether expired circuits, backups that are too old and what killed processes left are removed in the background: at the
   * start, and once an idle time, at least every hour and at most every minute. Default `true`.
   */
  readonly cleanUp?: boolean | undefined
  /**
   * How a directory is removed if it is empty, and only then, which Effect's `FileSystem` cannot. Default: not at all, and
   * circuits that have expired leave empty folders. `FileStorageLive` has it from Node.
   */
  readonly removeEmptyDirectory?: RemoveEmptyDirectory | undefined
}

const DIRECTORY = ".circuit_breaker"

const YEAR = 365 * 24 * 60 * 60 * 1000

/** Folders of circuits that are read at once. */
const CONCURRENCY = 16

/**
 * A storage in a directory, whose clean-up ends when the scope closes. Throws a `RangeError` for options that make no sense. What
 * is wrong with the directory is told by the operations, and nothing is made before the first write.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options = {}
): Effect.Effect<Storage, never, FileSystem.FileSystem | Path.Path | Scope.Scope> => {
  const { backups = 3, backupsFor = "7 days", cleanUp = true, directory = DIRECTORY } = options
  const idleTimeToLive = idleTime("file", options.idleTimeToLive)
  refuse("Storage \"file\"", [
    ...directory === "" ? [{ field: "directory", value: directory, range: "a path" }] : [],
    ...countIn("backups", backups, 0, 1000),
    ...durationIn("backupsFor", backupsFor, 1000, 100 * YEAR)
  ])
  return Effect.gen(function*() {
    const places = yield* placesIn(directory, options.removeEmptyDirectory)
    const circuits = circuitsIn(places, {
      backups,
      backupsFor: Duration.toMillis(Duration.fromInputUnsafe(backupsFor))
    })

    /** Of a folder whose circuit has not expired. One that cannot be read is there all the same. */
    const listed = (folder: string) =>
      Effect.gen(function*() {
        const { base, good } = yield* circuits.lookAgain(folder)
        if (good === undefined) return base === undefined ? undefined : nameOf(places.nameOf(folder))
        return isExpired(good.document, yield* Clock.currentTimeMillis) ? undefined : good.circuit
      }).pipe(Effect.orElseSucceed(() => nameOf(places.nameOf(folder))))

    if (cleanUp) {
      const every = Math.min(3_600_000, Math.max(60_000, Duration.toMillis(idleTimeToLive)))
      yield* Effect.forkScoped(
        Effect.repeat(Effect.ignore(circuits.sweep, { log: "Unhandled" }), Schedule.spaced(every))
      )
    }

    return fromDocument({
      backend: "file",
      capabilities: { shared: false, durable: true, pushes: false, history: true, fences: true },
      idleTimeToLive,
      modify: combined(circuits.modify, ({ reason }) => reason === "Invalid"),
      names: Stream.fromIterableEffect(Effect.mapError(places.folders, errorOf)).pipe(
        Stream.mapEffect(listed, { concurrency: CONCURRENCY }),
        Stream.filter((name) => name !== undefined)
      )
    })
  })
}

const isExpired = ({ expiresAt = Infinity }: Document, now: number): boolean => now >= expiresAt

/**
 * Circuits in a directory, over whatever `FileSystem` there is. `FileStorageLive` of `effect-breaker/layers/FileStorageLive` has
 * Node's.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<Storage, never, FileSystem.FileSystem | Path.Path> =>
  Layer.effect(Storage, make(options))

/**
 * What lies in a directory of circuits: files and their sizes, how old they are, backups, what is damaged, and what killed
 * processes left. It reads all files and changes none. Fails where the directory cannot be read; one that is not there is empty.
 *
 * @category operators
 * @since 0.1.0
 */
export const report = (
  options: Pick<Options, "directory"> = {}
): Effect.Effect<Report, StorageError, FileSystem.FileSystem | Path.Path> =>
  Effect.flatMap(placesIn(options.directory ?? DIRECTORY, undefined), reportOf)
