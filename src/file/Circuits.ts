/**
 * Circuits as folders of versions, with the file system as the compare-and-set. A version is a file that is never
 * written again, named by its number. The highest number is the circuit.
 *
 * **How a version is written.** A writer that has read version `n` (its base) writes a temporary file and links it as
 * `n + 1`. The link fails if that name exists. The writer then flushes the folder and reads its base again: only if the
 * base is still there, byte for byte, has it committed. Otherwise the commit is in doubt and the writer starts over,
 * which does no harm because every write to a storage is safe to repeat.
 *
 * **Why that is enough.** (1) Versions are removed oldest first, so while a version exists, so do all that were
 * committed after it. (2) No text is written twice, so a base that is found again was there when the link was made. By
 * (1), so were all versions committed after `n`. The link found no `n + 1`, which would be the first of them: `n` was
 * the newest, and the link is the commit. A writer that slept, and finds `n + 1` free because it was removed, finds its
 * base removed too, because the base went first. The file that it leaves lies below the newest version, is nobody's
 * base, and is removed with the old versions.
 *
 * **The first version** comes with its folder, which is renamed into place: the rename fails if there is a folder that
 * is not empty. The first number is the time in microseconds, so that the numbers of a circuit that expired and came
 * back keep growing. The clock is trusted for that, as it is for generations.
 *
 * **What lasts.** A file is flushed before it is linked, its folder before anything is answered, and an old version is
 * removed after that: each removal is backed by what follows it. A writer whose base is a first version flushes the
 * directory before it links, so a second version is never in a folder that a power cut could take.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { PlatformError } from "effect/PlatformError"
import * as Random from "effect/Random"
import { type FieldsOf, messages } from "../internal/Messages.ts"
import type { Document, Modify } from "../Storage/Document.ts"
import type { StorageError } from "../Storage/Storage.ts"
import type { Directory } from "./Directory.ts"
import { deniedError, fileError, isAlreadyThere, isNotFound, linkErrorOf, storageErrorOf } from "./FileError.ts"
import { folderOf } from "./FolderName.ts"
import { printed, read, type Version } from "./Version.ts"

/** The version that a writer builds on. */
interface Base {
  readonly version: number
  readonly text: string
  /** The number that the writer takes. */
  readonly next: number
  /** True if its folder is certain to outlast a power cut. */
  readonly isFolderDurable: boolean
}

/** The content of a circuit's folder. */
interface Folder {
  /** The numbers of all versions, ascending. */
  readonly versions: ReadonlyArray<number>
  /** The newest version, damaged or not. Absent if there is none. */
  readonly base?: Base
  /** The newest version that is not damaged. */
  readonly valid?: Version & { readonly version: number }
  readonly hasStrangers: boolean
}

const NO_FOLDER: Folder = { versions: [], hasStrangers: false }

/** A lost attempt means that another writer won, so only a fault loses this many in a row. */
const MOST_ATTEMPTS = 500

/** The lost attempts after which the next one follows at once. Later ones wait for a random time. */
const EAGER_ATTEMPTS = 3

const LONGEST_WAIT_MILLIS = 16

/**
 * The age from which a temporary file is taken for a killed process's. A process that was paused for longer finds its
 * file gone and writes another.
 */
const LEFTOVER_MILLIS = 60_000

const NOT_A_FILE = "is a link or a directory and not a file, and links are not followed"

export interface CircuitsOptions {
  /** How many versions are kept beside the newest. */
  readonly backups: number
  readonly backupsForMillis: number
}

export class Circuits {
  readonly #directory: Directory
  readonly #options: CircuitsOptions
  /** The damaged files that were warned of: each once. */
  readonly #warned = new Set<string>()

  constructor(directory: Directory, options: CircuitsOptions) {
    this.#directory = directory
    this.#options = options
  }

  readonly modify: Modify = (circuit, f) =>
    Effect.gen({ self: this }, function*() {
      const folder = this.#directory.folder(circuit)
      yield* Effect.mapError(this.#directory.flushes.flushPending, storageErrorOf)
      for (let attempt = 1;; attempt++) {
        const found = yield* this.read(folder)
        if (found.base !== undefined && found.valid === undefined) {
          return yield* fileError("Invalid", `all files of the circuit are damaged: remove the folder ${folder}`)
        }
        const now = yield* Clock.currentTimeMillis
        const document = found.valid?.document
        const [result, next] = f(document, now)
        if (next === undefined || next === document) return result
        if (yield* this.#commit(circuit, folder, found, next, now)) return result
        if (attempt === MOST_ATTEMPTS) {
          return yield* fileError("Unavailable", `lost to other writers ${attempt} times in a row, in ${folder}`)
        }
        if (attempt > EAGER_ATTEMPTS) yield* Effect.sleep(yield* Random.nextBetween(0, LONGEST_WAIT_MILLIS))
      }
    })

  /**
   * Removes expired circuits, old backups and leftovers. What cannot be read or removed now is left for the next time.
   */
  get cleanUp(): Effect.Effect<void, PlatformError> {
    return Effect.gen({ self: this }, function*() {
      const { folders, temporaries } = this.#directory
      const now = yield* Clock.currentTimeMillis
      const leftovers = (yield* temporaries.list).filter(({ madeAt }) => now - madeAt > LEFTOVER_MILLIS)
      yield* Effect.forEach(leftovers, (file) => Effect.ignore(temporaries.remove(file)), { discard: true })
      yield* Effect.forEach(yield* folders, (folder) => Effect.ignore(this.#cleanUpFolder(folder)), { discard: true })
    })
  }

  read(folder: string): Effect.Effect<Folder, StorageError> {
    return Effect.flatMap(
      this.#tryRead(folder),
      (found) => found === undefined ? this.read(folder) : Effect.succeed(found)
    )
  }

  /** `undefined` if another process removed a version before it could be read. */
  #tryRead(folder: string): Effect.Effect<Folder | undefined, StorageError> {
    return Effect.gen({ self: this }, function*() {
      const listing = yield* this.#directory.list(folder)
      if (listing === undefined) return NO_FOLDER
      const { next, notFiles, strangers, versions } = listing
      const hasStrangers = strangers.length > 0
      const isOfFolder = (circuit: string) => folderOf(circuit) === this.#directory.nameOf(folder)
      let base: Base | undefined
      for (const version of versions.toReversed()) {
        const file = this.#directory.file(folder, version)
        const text = yield* this.#directory.read(file)
        if (text === undefined) return undefined
        const found = yield* Effect.mapError(read(text, isOfFolder), ({ cause }) => unreadable(file, cause))
        base ??= { version, text, next: next!, isFolderDurable: "document" in found && !found.isFirst }
        if ("document" in found) {
          const newer = notFiles.filter((number) => number > version)
          yield* Effect.forEach(newer, (number) => this.#warn(this.#directory.file(folder, number), NOT_A_FILE))
          return { versions, base, valid: { ...found, version }, hasStrangers }
        }
        yield* this.#warn(file, found.damage)
      }
      if (base === undefined && notFiles.length > 0) {
        const file = this.#directory.file(folder, notFiles.at(-1)!)
        return yield* fileError("Invalid", `${file} ${NOT_A_FILE}: move it away`)
      }
      return base === undefined ? { versions, hasStrangers } : { versions, base, hasStrangers }
    }).pipe(Effect.catchTag("PlatformError", (error) => Effect.fail(storageErrorOf(error))))
  }

  #warn(file: string, damage: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#warned.has(file)) return Effect.void
      this.#warned.add(file)
      const fields: FieldsOf<typeof messages.fileDamaged> = { file, damage }
      return Effect.annotateLogs(Effect.logWarning(messages.fileDamaged.text), fields)
    })
  }

  /** Succeeds with `false` if another writer was first, or the commit is in doubt. */
  #commit(
    circuit: string,
    folder: string,
    { base, versions }: Folder,
    document: Document,
    now: number
  ): Effect.Effect<boolean, StorageError> {
    return Effect.gen({ self: this }, function*() {
      yield* this.#directory.prepare
      const text = yield* printed(circuit, document, base?.version ?? null, now)
      const isCommitted = yield* base === undefined
        ? this.#commitFirst(folder, text, now)
        : this.#commitNext(folder, base, text, now)
      if (!isCommitted) return false
      // These and the new version are all that there are. The next writer removes what cannot be removed now.
      const old = versions.slice(0, Math.max(0, versions.length - this.#options.backups))
      yield* Effect.ignore(this.#directory.removeVersions(folder, old))
      return true
    }).pipe(
      Effect.catchTag("PlatformError", (error) => {
        if (!isNotFound(error)) return Effect.fail(storageErrorOf(error))
        this.#directory.forgetPrepared()
        return Effect.succeed(false)
      })
    )
  }

  #commitFirst(folder: string, text: string, now: number): Effect.Effect<boolean, StorageError | PlatformError> {
    const { flushes, root, temporaries } = this.#directory
    return temporaries.write(text, now, (file) =>
      Effect.gen({ self: this }, function*() {
        yield* this.#directory.makeFolder(folder, file, `${Math.max(1, Math.floor(now * 1000))}.json`)
        yield* Effect.mapError(flushes.flush(root), storageErrorOf)
        return true
      }).pipe(Effect.catchTag("PlatformError", (error) => this.#onFirstFailed(folder, error))))
  }

  /** Succeeds with `false` if another writer made the folder, or the directory is gone. */
  #onFirstFailed(folder: string, error: PlatformError): Effect.Effect<boolean, StorageError> {
    return Effect.flatMap(this.read(folder), ({ base, hasStrangers }) => {
      if (base !== undefined || isNotFound(error)) return Effect.succeed(false)
      return Effect.fail(
        hasStrangers
          ? deniedError(`the folder ${folder} holds entries that are not of this library: move them away`, error)
          : linkErrorOf(error)
      )
    })
  }

  #commitNext(
    folder: string,
    { isFolderDurable, next, text: textOfBase, version }: Base,
    text: string,
    now: number
  ): Effect.Effect<boolean, StorageError | PlatformError> {
    return Effect.gen({ self: this }, function*() {
      const { flushes, root, temporaries } = this.#directory
      if (!isFolderDurable) yield* flushes.flush(root)
      const isLinked = yield* temporaries.write(
        text,
        now,
        (file) =>
          this.#directory.link(file, this.#directory.file(folder, next)).pipe(
            Effect.as(true),
            Effect.catchTag(
              "PlatformError",
              (error) =>
                isAlreadyThere(error) || isNotFound(error) ? Effect.succeed(false) : Effect.fail(linkErrorOf(error))
            )
          )
      )
      if (!isLinked) return false
      // Also if the commit is in doubt: the next attempt may find it done, and answers for it.
      yield* flushes.flush(folder)
      return (yield* this.#directory.read(this.#directory.file(folder, version))) === textOfBase
    })
  }

  #cleanUpFolder(folder: string): Effect.Effect<void, StorageError | PlatformError> {
    return Effect.gen({ self: this }, function*() {
      const { base, hasStrangers, valid, versions } = yield* this.read(folder)
      if (base === undefined) return yield* this.#directory.removeIfEmpty(folder)
      if (valid === undefined || valid.version !== base.version) return
      const older = versions.slice(0, -1)
      const now = yield* Clock.currentTimeMillis
      // A folder with strangers cannot be removed, and a first version could not be renamed over it.
      return hasStrangers || now < (valid.document.expiresAt ?? Infinity)
        ? yield* this.#removeOldBackups(folder, older, now)
        : yield* this.#removeCircuit(folder, older, base.version)
    })
  }

  #removeCircuit(
    folder: string,
    older: ReadonlyArray<number>,
    newest: number
  ): Effect.Effect<void, PlatformError> {
    return Effect.gen({ self: this }, function*() {
      yield* this.#directory.removeVersions(folder, older)
      // Or a power cut could bring back one of these without the newest.
      yield* this.#directory.flushes.flush(folder)
      yield* this.#directory.removeVersions(folder, [newest])
      yield* this.#directory.removeIfEmpty(folder)
    })
  }

  #removeOldBackups(
    folder: string,
    older: ReadonlyArray<number>,
    now: number
  ): Effect.Effect<void, PlatformError> {
    return Effect.gen({ self: this }, function*() {
      let tooOld = 0
      for (const [index, version] of older.entries()) {
        const text = yield* this.#directory.read(this.#directory.file(folder, version))
        const found = text === undefined ? undefined : yield* Effect.option(read(text, () => true))
        const updatedAt = found?._tag === "Some" && "document" in found.value ? found.value.updatedAt : Infinity
        if (now - updatedAt > this.#options.backupsForMillis) tooOld = index + 1
      }
      yield* this.#directory.removeVersions(folder, older.slice(0, tooOld))
    })
  }
}

const unreadable = (file: string, cause: unknown): StorageError =>
  fileError("Invalid", new Error(`the file ${file}: ${cause instanceof Error ? cause.message : cause}`, { cause }))
