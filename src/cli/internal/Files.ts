/** Files that commands read and write. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import { usage } from "./Failure.ts"
import { nameOf, safe } from "./Text.ts"

/** Writes a file as a whole, readable by its owner alone: an archive has all reasons in plain text. */
export const writeFile = (file: string, text: string) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const temporary = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}.tmp`)
    yield* fs.writeFileString(temporary, text, { mode: 0o600 }).pipe(
      Effect.andThen(fs.rename(temporary, file)),
      Effect.tapError(() => Effect.ignore(fs.remove(temporary)))
    )
  }).pipe(Effect.mapError((error) => usage(`Cannot write ${nameOf(file)}: ${safe(error.message)}`)))

export const readText = (file: string) =>
  Effect.mapError(
    Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFileString(file)),
    (error) => usage(`Cannot read ${nameOf(file)}: ${safe(error.message)}`)
  )
