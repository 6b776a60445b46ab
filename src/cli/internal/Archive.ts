/** `export` and `import`. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import {
  type ArchiveError,
  exportCircuits,
  type ExportError,
  importCircuits,
  type ImportedCircuit
} from "../../Storage/Export.ts"
import { Storage } from "../../Storage/Storage.ts"
import { actorOf, confirmed } from "./Act.ts"
import { CliFailure, exitCodes, usage } from "./Failure.ts"
import { type Flags, print, type Session, storageFailure, storageText, withStorage } from "./Session.ts"
import { nameOf } from "./Show.ts"
import { jsonOf, safe } from "./Text.ts"

const startsWith = (prefix: string) => (circuit: string): boolean => circuit.startsWith(prefix)

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

const exportFailure = ({ secrets }: Session) => (error: ExportError): CliFailure => {
  const lines = error.errors.map((error) => storageText(error, secrets))
  return new CliFailure({ code: exitCodes.storage, text: [safe(error.message), ...lines.slice(0, 20)].join("\n  ") })
}

export const exportTo = (flags: Flags, prefix: string, out: Option.Option<string>) =>
  withStorage(flags, (session) =>
    Effect.gen(function*() {
      const archive = yield* exportCircuits({ filter: startsWith(prefix) }).pipe(
        Effect.provideService(Storage, session.storage),
        Effect.catchTag("ExportError", (error) => Effect.fail(exportFailure(session)(error)))
      )
      const text = jsonOf(archive, 2)
      if (Option.isNone(out)) return yield* print(text)
      yield* writeFile(out.value, `${text}\n`)
      const count = archive.circuits.length
      yield* Console.error(`Exported ${count} ${count === 1 ? "circuit" : "circuits"} to ${nameOf(out.value)}`)
    }))

export interface ImportFlags {
  readonly file: string
  readonly prefix: string
  readonly dryRun: boolean
  readonly keep: boolean
  readonly actor: Option.Option<string>
}

const countsOf = (results: ReadonlyArray<ImportedCircuit>): string =>
  Object.entries(Object.groupBy(results, ({ result }) => result))
    .map(([result, circuits]) => `${circuits.length} ${result}`)
    .join(", ") || "no circuits"

const resultLine = (
  { circuit, differences, error, mismatch, result }: ImportedCircuit,
  secrets: ReadonlyArray<string>
): string =>
  `${result.padEnd(11)} ${nameOf(circuit)}${
    differences.length === 0 ? "" : `: ${differences.map(({ field }) => field).join(", ")}`
  }${mismatch === undefined ? "" : ", under another policy"}${
    error === undefined ? "" : `: ${storageText(error, secrets)}`
  }`

const LINES = 50

export const importFrom = (flags: Flags, { actor, dryRun, file, keep, prefix }: ImportFlags) =>
  withStorage(flags, (session) =>
    Effect.gen(function*() {
      const document = yield* Effect.flatMap(readText(file), (text) =>
        Effect.try({
          try: (): unknown => JSON.parse(text),
          catch: (error) =>
            usage(`${nameOf(file)} is not JSON: ${safe(String(error instanceof Error ? error.message : error))}`)
        }))
      const options = {
        actor: yield* actorOf(actor),
        filter: startsWith(prefix),
        onConflict: keep ? "keep" as const : "replace" as const
      }
      const run = (dryRun: boolean) =>
        importCircuits(document, { ...options, dryRun }).pipe(
          Effect.provideService(Storage, session.storage),
          Effect.mapError((error: ArchiveError) => usage(`${nameOf(file)}: ${safe(error.message)}`))
        )
      const lines = (results: ReadonlyArray<ImportedCircuit>) => [
        ...results.slice(0, LINES).map((result) => resultLine(result, session.secrets)),
        ...results.length > LINES ? [`and ${results.length - LINES} more`] : []
      ]
      if (!dryRun) {
        const planned = flags.yes ? [] : yield* run(true)
        const changes = planned.filter(({ result }) => result === "WouldImport")
        yield* confirmed(flags, `import ${changes.length} of ${planned.length} circuits`, () => lines(changes))
      }
      const results = yield* run(dryRun)
      yield* flags.json
        ? print(jsonOf({
          results: results.map(({ error, ...result }) => ({
            ...result,
            error: error === undefined ? null : storageText(error, session.secrets)
          }))
        }))
        : print([...lines(results.filter(({ result }) => result !== "Unchanged")), countsOf(results)].join("\n"))
      const failed = results.find(({ result }) => result === "Refused")?.error
      if (failed !== undefined) return yield* storageFailure(failed, session.secrets)
    }), { create: !dryRun })
