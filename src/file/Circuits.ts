/**
 * Circuits as folders of versions, where the file system is the compare-and-set. A version is a file that is never written
 * again, named by its number; the newest is what holds.
 *
 * **How a version is written.** Who has read version `n` (its base) writes a temporary file and links it as `n + 1`, which fails
 * where that is there. Then it flushes the folder, and reads its base again: only if that is still there, to the letter, has it
 * committed. If not, it is in doubt and begins anew, which is no harm, for all that a storage is asked to write is safe to repeat.
 *
 * **Why that is enough.** (1) Versions are removed the oldest first, so while one is there all that were committed after it are.
 * (2) No text is written twice, so a base that is found again was there when the link was made. By (1) all that were committed
 * after `n` were there, too, and a link finds none at `n + 1`, where the first of them would be: `n` was the newest, and the
 * link is the commit. Who slept, and finds `n + 1` free because it was removed, finds its base removed before that. What it
 * left lies below the newest, is nobody's base, and goes with the old ones.
 *
 * **The first version** comes with its folder, which is renamed into place: that fails where there is one with anything in it.
 * Its number is the time in microseconds, so that numbers go on from where an expired circuit's had been; the clock is trusted
 * for it as it is for generations.
 *
 * **What lasts.** A file is flushed before it is linked, its folder before anyone is answered, and an old version removed after
 * that, so each is backed by what follows it. Who builds on a first version flushes the directory before, so a second version
 * is never in a folder that a power cut could take.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { PlatformError } from "effect/PlatformError"
import * as Random from "effect/Random"
import type { Document, Modify } from "../Storage/Document.ts"
import { StorageError } from "../Storage/Storage.ts"
import { errorOf, isNotFound, isThere, linkErrorOf, refused } from "./Errors.ts"
import { folderOf } from "./Names.ts"
import type { Places } from "./Places.ts"
import { printed, read, type Version } from "./Version.ts"

/** What a writer goes by. */
interface Base {
  readonly version: number
  readonly text: string
  readonly next: number
  /** Whether it is certain that its folder outlasts a power cut. */
  readonly isKept: boolean
}

interface Found {
  readonly versions: ReadonlyArray<number>
  /** The newest file, damaged or not. Absent where there is none. */
  readonly base?: Base
  /** The newest that is whole. */
  readonly good?: Version & { readonly version: number }
  readonly hasStrangers: boolean
}

const NOTHING: Found = { versions: [], hasStrangers: false }

/** A loser has seen somebody win, so this many in a row are a fault and no crowd. */
const MOST_TRIES = 500

/** Losers try again at once this often, and then after a while. */
const EAGER_TRIES = 3

const LONGEST_WAIT = 16

/** After how long a temporary file is taken for a killed process's. Who slept for longer finds it gone, and writes another. */
const LEFTOVER = 60_000

export const circuitsIn = (places: Places, { backups, backupsFor }: {
  readonly backups: number
  readonly backupsFor: number
}) => {
  const warned = new Set<string>()
  const warn = (file: string, damage: string) =>
    Effect.suspend(() => {
      if (warned.has(file)) return Effect.void
      warned.add(file)
      return Effect.annotateLogs(Effect.logWarning("A circuit's file is damaged, the one before it is used"), {
        file,
        damage
      })
    })

  /** `undefined` where others have removed meanwhile what was to be read. */
  const look = (folder: string): Effect.Effect<Found | undefined, StorageError> =>
    Effect.gen(function*() {
      const listing = yield* places.list(folder)
      if (listing === undefined) return NOTHING
      const { next, strangers, versions } = listing
      const hasStrangers = strangers.length > 0
      const isCircuit = (name: string) => folderOf(name) === places.nameOf(folder)
      let base: Base | undefined
      for (const version of versions.toReversed()) {
        const file = places.file(folder, version)
        const text = yield* places.read(file)
        if (text === undefined) return undefined
        const found = yield* read(text, isCircuit)
        base ??= { version, text, next: next!, isKept: "document" in found && !found.isFirst }
        if ("document" in found) return { versions, base, good: { ...found, version }, hasStrangers }
        yield* warn(file, found.damage)
      }
      return base === undefined ? { versions, hasStrangers } : { versions, base, hasStrangers }
    }).pipe(Effect.catchTag("PlatformError", (error) => Effect.fail(errorOf(error))))

  const lookAgain = (folder: string): Effect.Effect<Found, StorageError> =>
    Effect.flatMap(look(folder), (found) => found === undefined ? lookAgain(folder) : Effect.succeed(found))

  /** Nobody has one: the folder comes with it. */
  const first = (folder: string, text: string, now: number) =>
    places.writeTemporary(text, now, (file) =>
      Effect.gen(function*() {
        yield* places.place(file, `${Math.max(1, Math.floor(now * 1000))}.json`, folder)
        yield* Effect.mapError(places.syncDirectory(places.root), errorOf)
        return true
      }).pipe(Effect.catchTag("PlatformError", (error) => lostFirst(folder, error))))

  /** Whether there is one now, or no folder can be made. */
  const lostFirst = (folder: string, error: PlatformError) =>
    Effect.flatMap(lookAgain(folder), ({ base, hasStrangers }) => {
      if (base !== undefined || isNotFound(error)) return Effect.succeed(false)
      return Effect.fail(
        hasStrangers
          ? refused("the circuit's folder holds what is not of this library: remove it", error)
          : linkErrorOf(error)
      )
    })

  const following = (folder: string, { isKept, next, text: before, version }: Base, text: string, now: number) =>
    Effect.gen(function*() {
      const [was, then] = [places.file(folder, version), places.file(folder, next)]
      if (!isKept) yield* places.syncDirectory(places.root)
      const isLinked = yield* places.writeTemporary(text, now, (file) =>
        places.link(file, then).pipe(
          Effect.as(true),
          Effect.catchTag(
            "PlatformError",
            (error) => isThere(error) || isNotFound(error) ? Effect.succeed(false) : Effect.fail(linkErrorOf(error))
          )
        ))
      if (!isLinked) return false
      // Also when in doubt: what it did may be found done, and is answered for then.
      yield* places.syncDirectory(folder)
      return (yield* places.read(was)) === before
    })

  const commit = Effect.fnUntraced(
    function*(circuit: string, folder: string, { base, versions }: Found, document: Document, now: number) {
      yield* places.prepare
      const text = yield* printed(circuit, document, base?.version ?? null, now)
      const isCommitted = yield* (base === undefined ? first(folder, text, now) : following(folder, base, text, now))
      if (isCommitted) {
        // These and the new one are all that there were, and what cannot be removed now is by who comes next.
        yield* Effect.ignore(places.removeVersions(folder, versions.slice(0, Math.max(0, versions.length - backups))))
      }
      return isCommitted
    },
    Effect.catchTag("PlatformError", (error) =>
      // Somebody has removed the directory.
      isNotFound(error) ? Effect.as(places.unprepare, false) : Effect.fail(errorOf(error)))
  )

  const modify: Modify = Effect.fnUntraced(function*(circuit, f) {
    const folder = places.folder(circuit)
    yield* Effect.mapError(places.syncOwed, errorOf)
    for (let tries = 1;; tries++) {
      const found = yield* lookAgain(folder)
      const { base, good } = found
      if (base !== undefined && good === undefined) {
        return yield* new StorageError({
          operation: "file",
          reason: "Invalid",
          cause: `all files of the circuit are damaged, in ${folder}`
        })
      }
      const now = yield* Clock.currentTimeMillis
      const [result, next] = f(good?.document, now)
      if (next === undefined || next === good?.document) return result
      if (yield* commit(circuit, folder, found, next, now)) return result
      if (tries === MOST_TRIES) {
        return yield* new StorageError({
          operation: "file",
          reason: "Unavailable",
          cause: `lost to other writers ${tries} times in a row, in ${folder}`
        })
      }
      if (tries > EAGER_TRIES) yield* Effect.sleep(yield* Random.nextBetween(0, LONGEST_WAIT))
    }
  })

  /** Removes a circuit that has expired, and backups that are too old. */
  const sweep = (folder: string) =>
    Effect.gen(function*() {
      const { base, good, hasStrangers, versions } = yield* lookAgain(folder)
      const now = yield* Clock.currentTimeMillis
      if (base === undefined) return yield* places.removeIfEmpty(folder)
      if (good === undefined || good.version !== base.version) return
      const older = versions.slice(0, -1)
      // In a folder that cannot go, the next first version could not come.
      if (!hasStrangers && now >= (good.document.expiresAt ?? Infinity)) {
        yield* places.removeVersions(folder, older)
        // Or a power cut could bring back one of these without the last.
        yield* places.syncDirectory(folder)
        yield* places.removeVersions(folder, [base.version])
        return yield* places.removeIfEmpty(folder)
      }
      let tooOld = 0
      for (const [index, version] of older.entries()) {
        const text = yield* places.read(places.file(folder, version))
        const found = text === undefined ? undefined : yield* Effect.option(read(text, () => true))
        const updatedAt = found?._tag === "Some" && "document" in found.value ? found.value.updatedAt : Infinity
        if (now - updatedAt > backupsFor) tooOld = index + 1
      }
      yield* places.removeVersions(folder, older.slice(0, tooOld))
    })

  return {
    modify,
    lookAgain,
    /** By and by: what cannot be looked at, or removed, is left to the next time. */
    sweep: Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      const old = (yield* places.temporaries).filter(({ madeAt }) => now - madeAt > LEFTOVER)
      yield* Effect.forEach(old, (one) => Effect.ignore(places.removeTemporary(one)), { discard: true })
      yield* Effect.forEach(yield* places.folders, (folder) => Effect.ignore(sweep(folder)), { discard: true })
    })
  }
}
