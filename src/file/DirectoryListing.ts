/** Lists the directory for operators: the files of each circuit, their sizes and ages, and what is damaged. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { PlatformError } from "effect/PlatformError"
import type { StorageError } from "../Storage/Storage.ts"
import type { Directory } from "./Directory.ts"
import { storageErrorOf } from "./FileError.ts"
import { folderOf, nameOf } from "./FolderName.ts"
import { type Damage, read, type Version } from "./Version.ts"

/** A file that cannot be used, and the reason. */
export interface DamagedFile {
  readonly file: string
  readonly why: string
}

/** The files of a circuit. */
export interface CircuitFiles {
  readonly folder: string
  /** The circuit's name. Absent if neither the folder nor an undamaged file has it. */
  readonly circuit?: string | undefined
  /** The bytes of all its files. */
  readonly bytes: number
  /**
   * The newest undamaged file, which is the one in use. Absent if there is none: operations then fail with `Invalid`.
   */
  readonly current?: { readonly file: string; readonly bytes: number; readonly age: Duration.Duration } | undefined
  /** The number of older undamaged files. */
  readonly backups: number
  readonly damaged: ReadonlyArray<DamagedFile>
  /** The names of entries in the folder that are not this library's. */
  readonly strangers: ReadonlyArray<string>
}

/** Everything in a directory of circuits. */
export interface DirectoryListing {
  /** Its absolute path. */
  readonly directory: string
  /** The number of files of circuits, and their bytes. */
  readonly files: number
  readonly bytes: number
  /** Ordered by folder. */
  readonly circuits: ReadonlyArray<CircuitFiles>
  /** Temporary files, of writes in progress and of killed processes. The clean-up removes one after a minute. */
  readonly leftovers: ReadonlyArray<{ readonly file: string; readonly age: Duration.Duration }>
  /** The names of links and files in the directory that are not this library's. Links are not followed. */
  readonly strangers: ReadonlyArray<string>
}

export const listDirectory = (directory: Directory): Effect.Effect<DirectoryListing, StorageError> =>
  Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    const listed = yield* Effect.forEach(yield* directory.folders, (folder) => listFolder(directory, folder, now))
    const circuits = listed.map(({ circuit }) => circuit)
    const leftovers = yield* directory.temporaries.list
    return {
      directory: directory.root,
      files: listed.reduce((sum, { files }) => sum + files, 0),
      bytes: circuits.reduce((sum, { bytes }) => sum + bytes, 0),
      circuits,
      leftovers: leftovers.map(({ madeAt, path }) => ({ file: path, age: ageAt(madeAt, now) })),
      strangers: yield* directory.strangers
    }
  }).pipe(Effect.catchTag("PlatformError", (error) => Effect.fail(storageErrorOf(error))))

const ageAt = (millis: number, now: number): Duration.Duration => Duration.millis(Math.max(0, now - millis))

const listFolder = Effect.fnUntraced(function*(directory: Directory, folder: string, now: number) {
  const { strangers = [], versions = [] } = (yield* directory.list(folder)) ?? {}
  const damaged: Array<DamagedFile> = []
  let files = 0
  let bytes = 0
  let backups = 0
  let circuit = nameOf(directory.nameOf(folder))
  let current: CircuitFiles["current"]
  for (const version of versions.toReversed()) {
    const file = directory.file(folder, version)
    const size = yield* Effect.orElseSucceed(directory.sizeOf(file), () => 0)
    const found = yield* readAny(directory, folder, file)
    if (found === undefined) continue
    files++
    bytes += size
    if ("damage" in found) damaged.push({ file, why: found.damage })
    else if (current === undefined) {
      circuit = found.circuit
      current = { file, bytes: size, age: ageAt(found.updatedAt, now) }
    } else backups++
  }
  return { files, circuit: { folder, circuit, bytes, current, backups, damaged, strangers } }
})

/** Never fails: a file that cannot be read is damaged. `undefined` if the file was removed meanwhile. */
const readAny = (directory: Directory, folder: string, file: string): Effect.Effect<Version | Damage | undefined> =>
  directory.read(file).pipe(
    Effect.flatMap((text) =>
      text === undefined
        ? Effect.undefined
        : read(text, (circuit) => folderOf(circuit) === directory.nameOf(folder))
    ),
    Effect.catch((error: PlatformError | StorageError) =>
      Effect.succeed({ damage: error._tag === "PlatformError" ? error.message : String(error.cause) })
    )
  )
