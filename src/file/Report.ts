/** What lies in the directory, for operators. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { StorageError } from "../Storage/Storage.ts"
import { errorOf } from "./Errors.ts"
import { folderOf, nameOf } from "./Names.ts"
import type { Places } from "./Places.ts"
import { read } from "./Version.ts"

/** A file that cannot be used, and why. */
export interface DamagedFile {
  readonly file: string
  readonly why: string
}

/** The files of a circuit. */
export interface CircuitFiles {
  readonly folder: string
  /** Absent where neither the folder nor a file says it. */
  readonly circuit?: string | undefined
  /** Bytes of all its files. */
  readonly bytes: number
  /** The newest file that is whole, which is the one in use. Absent where there is none: then the circuit is `Invalid`. */
  readonly current?: { readonly file: string; readonly bytes: number; readonly age: Duration.Duration } | undefined
  /** How many others are whole. */
  readonly backups: number
  readonly damaged: ReadonlyArray<DamagedFile>
  /** What lies in the folder and is not of this library. */
  readonly strangers: ReadonlyArray<string>
}

/** All that lies in a directory of circuits. */
export interface Report {
  /** Its absolute path. */
  readonly directory: string
  /** Files of circuits, and their bytes. */
  readonly files: number
  readonly bytes: number
  /** By their folders, in order. */
  readonly circuits: ReadonlyArray<CircuitFiles>
  /** Temporary files: of writes that go on, and of processes that were killed. These go after a minute. */
  readonly leftovers: ReadonlyArray<{ readonly file: string; readonly age: Duration.Duration }>
}

export const reportOf = (places: Places): Effect.Effect<Report, StorageError> =>
  Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    const ageAt = (millis: number) => Duration.millis(Math.max(0, now - millis))
    let files = 0

    const circuitIn = Effect.fnUntraced(function*(folder: string) {
      const name = places.nameOf(folder)
      const { strangers = [], versions = [] } = (yield* places.list(folder)) ?? {}
      const damaged: Array<DamagedFile> = []
      let bytes = 0
      let backups = 0
      let circuit = nameOf(name)
      let current: CircuitFiles["current"]
      for (const version of versions.toReversed()) {
        const file = places.file(folder, version)
        const size = yield* Effect.orElseSucceed(places.sizeOf(file), () => 0)
        const text = yield* Effect.result(places.read(file))
        // Removed meanwhile.
        if (text._tag === "Success" && text.success === undefined) continue
        files++
        bytes += size
        const found = text._tag === "Failure" ? { damage: text.failure.message } : yield* read(
          text.success!,
          (circuit) => folderOf(circuit) === name
        ).pipe(Effect.catch(({ cause }) => Effect.succeed({ damage: String(cause) })))
        if ("damage" in found) damaged.push({ file, why: found.damage })
        else if (current === undefined) {
          circuit = found.circuit
          current = { file, bytes: size, age: ageAt(found.updatedAt) }
        } else backups++
      }
      return { folder, circuit, bytes, current, backups, damaged, strangers }
    })

    const circuits = yield* Effect.forEach(yield* places.folders, circuitIn)
    const leftovers = yield* places.temporaries
    return {
      directory: places.root,
      files,
      bytes: circuits.reduce((sum, { bytes }) => sum + bytes, 0),
      circuits,
      leftovers: leftovers.map(({ madeAt, path }) => ({ file: path, age: ageAt(madeAt) }))
    }
  }).pipe(Effect.mapError(errorOf))
