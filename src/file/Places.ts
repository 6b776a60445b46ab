/** Where things lie, and the few ways in which they are changed. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type { PlatformError } from "effect/PlatformError"
import { randomUUID } from "node:crypto"
import { isNotFound, isThere, isUnflushable } from "./Errors.ts"
import { folderOf } from "./Names.ts"

/** Removes a directory if it is empty, and fails if it is not. */
export type RemoveEmptyDirectory = (path: string) => Effect.Effect<void, PlatformError>

/** What lies in a circuit's folder. */
export interface Listing {
  /** Of the versions that are files, ascending. */
  readonly versions: ReadonlyArray<number>
  /** Of the next version: above all that have a version's name, whatever they are. */
  readonly next: number | undefined
  /** What is not ours. */
  readonly strangers: ReadonlyArray<string>
}

export interface Temporary {
  readonly path: string
  /** Unix milliseconds. */
  readonly madeAt: number
  /** Whether it has been put aside to be removed. */
  readonly isAside: boolean
}

const ASIDE = ".aside"

const numberOf = (name: string): number | undefined => {
  const number = /^[1-9]\d{0,15}\.json$/.test(name) ? Number.parseInt(name) : NaN
  return number < Number.MAX_SAFE_INTEGER ? number : undefined
}

export interface Places extends Effect.Success<ReturnType<typeof placesIn>> {}

export const placesIn = Effect.fnUntraced(function*(directory: string, removeEmpty: RemoveEmptyDirectory | undefined) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = path.resolve(directory)
  const temporary = path.join(root, ".tmp")

  const flush = (directory: string): Effect.Effect<void, PlatformError> =>
    Effect.scoped(Effect.flatMap(fs.open(directory), (file) => file.sync))

  /** What could not be flushed when it was due: what was done there must not be answered for before it is. */
  const owed = new Set<string>()

  /** Makes what was done in a directory outlast a power cut: entries are not the files' own. */
  const syncDirectory = (directory: string): Effect.Effect<void, PlatformError> =>
    flush(directory).pipe(
      Effect.tapError((error) => Effect.sync(() => isNotFound(error) ? owed.delete(directory) : owed.add(directory))),
      Effect.tap(() => Effect.sync(() => owed.delete(directory)))
    )

  const remove = (path: string, recursive = false) => fs.remove(path, { recursive, force: true })

  let isPrepared = false
  /** Once, or once more where somebody has removed it. */
  const prepare = Effect.gen(function*() {
    yield* fs.makeDirectory(temporary, { recursive: true })
    yield* Effect.catchIf(
      fs.writeFileString(path.join(root, ".gitignore"), "*\n", { flag: "wx" }),
      isThere,
      () => Effect.void
    )
    for (let at = root; at !== path.dirname(at); at = path.dirname(at)) {
      yield* Effect.catchIf(flush(path.dirname(at)), isUnflushable, () => Effect.void)
    }
    isPrepared = true
  })

  return {
    root,
    folder: (circuit: string) => path.join(root, folderOf(circuit)),
    file: (folder: string, version: number) => path.join(folder, `${version}.json`),

    /** All that may be circuits' folders, in order. None where there is no directory. */
    folders: fs.readDirectoryEntries(root).pipe(
      Effect.map((entries) =>
        entries.filter(({ name, type }) => type === "Directory" && !name.startsWith(".")).map(({ name }) =>
          path.join(root, name)
        ).sort()
      ),
      Effect.catchIf(isNotFound, () => Effect.succeed([]))
    ),
    nameOf: (folder: string) => path.basename(folder),

    /** `undefined` where there is no such folder. */
    list: (folder: string): Effect.Effect<Listing | undefined, PlatformError> =>
      fs.readDirectoryEntries(folder).pipe(
        Effect.map((entries) => {
          const numbered = entries.map(({ name, type }) => ({ name, isFile: type === "File", number: numberOf(name) }))
          const numbers = numbered.flatMap(({ number }) => number ?? [])
          return {
            versions: numbered.flatMap(({ isFile, number }) => isFile ? number ?? [] : []).sort((a, b) => a - b),
            next: numbers.length === 0 ? undefined : Math.max(...numbers) + 1,
            strangers: numbered.flatMap(({ isFile, name, number }) => isFile && number !== undefined ? [] : name)
          }
        }),
        Effect.catchIf(isNotFound, () => Effect.undefined)
      ),

    /** `undefined` where it is not there any more. */
    read: (file: string): Effect.Effect<string | undefined, PlatformError> =>
      Effect.catchIf(fs.readFileString(file), isNotFound, () => Effect.undefined),

    /** In bytes. */
    sizeOf: (file: string): Effect.Effect<number, PlatformError> =>
      Effect.map(fs.stat(file), ({ size }) => Number(size)),

    prepare: Effect.suspend(() => isPrepared ? Effect.void : prepare),
    unprepare: Effect.sync(() => {
      isPrepared = false
    }),

    /** A file that is whole on the disk, for as long as it is used. Names tell how old they are. */
    writeTemporary: <A, E>(text: string, now: number, use: (file: string) => Effect.Effect<A, E>) => {
      const file = path.join(temporary, `${Math.floor(now)}-${randomUUID()}`)
      const write = Effect.scoped(Effect.gen(function*() {
        const handle = yield* fs.open(file, { flag: "wx" })
        yield* handle.writeAll(new TextEncoder().encode(text))
        yield* handle.sync
      }))
      return Effect.ensuring(Effect.andThen(write, use(file)), Effect.ignore(remove(file)))
    },
    link: fs.link,

    /** Makes a folder with one file in it, unless there is one with anything in it. */
    place: (file: string, name: string, folder: string) => {
      const made = `${file}.folder`
      return Effect.gen(function*() {
        yield* fs.makeDirectory(made)
        yield* fs.link(file, path.join(made, name))
        yield* syncDirectory(made)
        yield* fs.rename(made, folder)
      }).pipe(Effect.onError(() => Effect.ignore(remove(made, true))))
    },
    syncDirectory,
    syncOwed: Effect.suspend(() =>
      Effect.forEach(
        [...owed],
        (directory) => Effect.catchIf(syncDirectory(directory), isNotFound, () => Effect.void),
        { discard: true }
      )
    ),

    /** The oldest first, and none after one that cannot be removed: see `Circuits.ts` for what that is good for. */
    removeVersions: (folder: string, versions: ReadonlyArray<number>) =>
      Effect.forEach(versions, (version) => remove(path.join(folder, `${version}.json`)), { discard: true }),
    removeIfEmpty: (folder: string) => removeEmpty === undefined ? Effect.void : Effect.ignore(removeEmpty(folder)),

    /** The oldest first. */
    temporaries: fs.readDirectory(temporary).pipe(
      Effect.map((names) =>
        names.sort().flatMap((name): ReadonlyArray<Temporary> => {
          const [, millis] = /^(\d+)-[\w-]+(?:\.folder)?(?:\.aside)?$/.exec(name) ?? []
          return millis === undefined
            ? []
            : [{ path: path.join(temporary, name), madeAt: Number(millis), isAside: name.endsWith(ASIDE) }]
        })
      ),
      Effect.catchIf(isNotFound, () => Effect.succeed([]))
    ),
    /** Put aside first: whoever is about to use it finds either all of it or nothing. */
    removeTemporary: ({ isAside, path }: Temporary) =>
      Effect.gen(function*() {
        const aside = isAside ? path : `${path}${ASIDE}`
        if (!isAside) yield* fs.rename(path, aside)
        yield* remove(aside, true)
      })
  }
})
