/**
 * The directory of all circuits: its layout, and the operations on files that writing a circuit is made of.
 *
 * Invariant: `#isPrepared` is true once this process has made the directory and flushed its parents. `forgetPrepared`
 * clears it when the directory turns out to be gone.
 *
 * The directory itself may be a symbolic link. Links in it are not followed: they could lead to files of others, which
 * would be taken for circuits or removed.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type { PlatformError } from "effect/PlatformError"
import type { StorageError } from "../Storage/Storage.ts"
import { DirectoryFlush } from "./DirectoryFlush.ts"
import { fileError, isAlreadyThere, isNotFound, isUnflushable } from "./FileError.ts"
import { folderOf } from "./FolderName.ts"
import { TemporaryFiles } from "./TemporaryFiles.ts"

const IGNORE_FILE = ".gitignore"

/** Removes a directory if it is empty, and fails if it is not. */
export type RemoveEmptyDirectory = (path: string) => Effect.Effect<void, PlatformError>

/** The content of a circuit's folder. */
export interface FolderListing {
  /** The numbers of the versions that are files, ascending. */
  readonly versions: ReadonlyArray<number>
  /** The number of the next version: above every entry that is named like a version, file or not. */
  readonly next: number | undefined
  /** The numbers of entries that are named like a version and are links or directories. */
  readonly notFiles: ReadonlyArray<number>
  /** The names of entries that are not this library's. */
  readonly strangers: ReadonlyArray<string>
}

const versionOf = (name: string): number | undefined => {
  const version = /^[1-9]\d{0,15}\.json$/.test(name) ? Number.parseInt(name) : NaN
  return version < Number.MAX_SAFE_INTEGER ? version : undefined
}

export class Directory {
  /** Its absolute path. */
  readonly root: string
  readonly temporaries: TemporaryFiles
  readonly flushes: DirectoryFlush
  readonly #fs: FileSystem.FileSystem
  readonly #path: Path.Path
  readonly #removeEmpty: RemoveEmptyDirectory | undefined
  #isPrepared = false

  constructor(
    fs: FileSystem.FileSystem,
    path: Path.Path,
    directory: string,
    removeEmpty: RemoveEmptyDirectory | undefined
  ) {
    this.root = path.resolve(directory)
    this.temporaries = new TemporaryFiles(fs, path, path.join(this.root, ".tmp"))
    this.flushes = new DirectoryFlush(fs)
    this.#fs = fs
    this.#path = path
    this.#removeEmpty = removeEmpty
  }

  static make(
    directory: string,
    removeEmpty?: RemoveEmptyDirectory
  ): Effect.Effect<Directory, never, FileSystem.FileSystem | Path.Path> {
    return Effect.gen(function*() {
      return new Directory(yield* FileSystem.FileSystem, yield* Path.Path, directory, removeEmpty)
    })
  }

  /** The path of a circuit's folder. */
  folder(circuit: string): string {
    return this.#path.join(this.root, folderOf(circuit))
  }

  /** The path of a version. */
  file(folder: string, version: number): string {
    return this.#path.join(folder, `${version}.json`)
  }

  nameOf(folder: string): string {
    return this.#path.basename(folder)
  }

  /** The paths of everything that may be a circuit's folder, in order. Empty if there is no directory. */
  get folders(): Effect.Effect<ReadonlyArray<string>, PlatformError> {
    return Effect.map(
      this.#entries,
      (entries) =>
        entries.filter(({ name, type }) => type === "Directory" && !name.startsWith("."))
          .map(({ name }) => this.#path.join(this.root, name))
          .sort()
    )
  }

  /** The names of links and files in the directory that are not this library's, in order. */
  get strangers(): Effect.Effect<ReadonlyArray<string>, PlatformError> {
    return Effect.map(
      this.#entries,
      (entries) =>
        entries.filter(({ name, type }) => type !== "Directory" && name !== IGNORE_FILE).map(({ name }) => name).sort()
    )
  }

  get #entries(): Effect.Effect<ReadonlyArray<FileSystem.DirectoryEntry>, PlatformError> {
    return Effect.catchIf(this.#entriesOf(this.root), isNotFound, () => Effect.succeed([]))
  }

  /** The entries of a directory, with their types also where the file system does not list them. */
  #entriesOf(directory: string): Effect.Effect<ReadonlyArray<FileSystem.DirectoryEntry>, PlatformError> {
    const typed = (entry: FileSystem.DirectoryEntry) =>
      entry.type !== "Unknown" ? Effect.succeed([entry]) : this.#fs.lstat(this.#path.join(directory, entry.name)).pipe(
        Effect.map(({ type }) => [{ name: entry.name, type }]),
        Effect.catchIf(isNotFound, () => Effect.succeed([]))
      )
    return Effect.flatMap(
      this.#fs.readDirectoryEntries(directory),
      (entries) => Effect.map(Effect.forEach(entries, typed), (typed) => typed.flat())
    )
  }

  /** `undefined` if there is no such folder. Fails with `Invalid` if it is a link. */
  list(folder: string): Effect.Effect<FolderListing | undefined, PlatformError | StorageError> {
    return this.#fs.lstat(folder).pipe(
      Effect.filterOrFail(
        ({ type }) => type !== "SymbolicLink",
        () => fileError("Invalid", `the folder ${folder} is a symbolic link, which is not followed: move it away`)
      ),
      Effect.andThen(this.#entriesOf(folder)),
      Effect.map((entries) => {
        const numbered = entries.map(({ name, type }) => ({ name, isFile: type === "File", version: versionOf(name) }))
        const ascending = (isFile: boolean) =>
          numbered.flatMap((entry) => entry.isFile === isFile ? entry.version ?? [] : []).sort((a, b) => a - b)
        const [versions, notFiles] = [ascending(true), ascending(false)]
        return {
          versions,
          notFiles,
          next: versions.length + notFiles.length === 0 ? undefined : Math.max(...versions, ...notFiles) + 1,
          strangers: numbered.flatMap(({ isFile, name, version }) => isFile && version !== undefined ? [] : name)
        }
      }),
      Effect.catchIf(
        (error): error is PlatformError => error._tag === "PlatformError" && isNotFound(error),
        () => Effect.undefined
      )
    )
  }

  /** `undefined` if the file is gone. */
  read(file: string): Effect.Effect<string | undefined, PlatformError> {
    return Effect.catchIf(this.#fs.readFileString(file), isNotFound, () => Effect.undefined)
  }

  /** In bytes. */
  sizeOf(file: string): Effect.Effect<number, PlatformError> {
    return Effect.map(this.#fs.lstat(file), ({ size }) => Number(size))
  }

  /** Makes the directory, unless this process already has. */
  get prepare(): Effect.Effect<void, PlatformError | StorageError> {
    return Effect.suspend(() => this.#isPrepared ? Effect.void : this.#prepare)
  }

  readonly #prepare = Effect.gen({ self: this }, function*() {
    yield* this.temporaries.refuseLink
    yield* this.#fs.makeDirectory(this.temporaries.folder, { recursive: true })
    yield* Effect.catchIf(
      this.#fs.writeFileString(this.#path.join(this.root, IGNORE_FILE), "*\n", { flag: "wx" }),
      isAlreadyThere,
      () => Effect.void
    )
    const path = this.#path
    for (let at = this.root; at !== path.dirname(at); at = path.dirname(at)) {
      yield* Effect.catchIf(this.flushes.tryFlush(path.dirname(at)), isUnflushable, () => Effect.void)
    }
    this.#isPrepared = true
  })

  /** The directory is gone: the next `prepare` makes it again. */
  forgetPrepared(): void {
    this.#isPrepared = false
  }

  link(file: string, target: string): Effect.Effect<void, PlatformError> {
    return this.#fs.link(file, target)
  }

  /** Makes a folder that has one file in it. Fails if there is a folder that is not empty. */
  makeFolder(folder: string, file: string, name: string): Effect.Effect<void, PlatformError> {
    const made = `${file}.folder`
    return Effect.gen({ self: this }, function*() {
      yield* this.#fs.makeDirectory(made)
      yield* this.#fs.link(file, this.#path.join(made, name))
      yield* this.flushes.flush(made)
      yield* this.#fs.rename(made, folder)
    }).pipe(Effect.onError(() => Effect.ignore(this.#fs.remove(made, { recursive: true, force: true }))))
  }

  /** Removes versions in their order, and stops at one that cannot be removed. `Circuits.ts` relies on the order. */
  removeVersions(folder: string, oldestFirst: ReadonlyArray<number>): Effect.Effect<void, PlatformError> {
    return Effect.forEach(oldestFirst, (version) => this.#fs.remove(this.file(folder, version), { force: true }), {
      discard: true
    })
  }

  removeIfEmpty(folder: string): Effect.Effect<void> {
    return this.#removeEmpty === undefined ? Effect.void : Effect.ignore(this.#removeEmpty(folder))
  }
}
