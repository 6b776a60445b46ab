/**
 * Tells when a file has changed, however that was done: written in place, replaced by a rename or by another link, deleted and brought
 * back.
 *
 * The directory is watched, because a watch of the file itself follows the file that was replaced. An event only says that it is time to
 * look. The file is looked at every few seconds, too: some file systems tell of no changes, and a directory can be replaced itself.
 *
 * Neither the watch nor a timer keeps the process alive.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type { PlatformError } from "effect/PlatformError"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { backgroundSleep } from "../../internal/Clock.ts"
import { nodeWatch } from "../../internal/drivers/NodeFs.ts"

/** How often the file is looked at where no event comes. */
const LOOK_EVERY = "5 seconds"

/** A file that is written in parts is read once it has not changed for so long. */
const UNCHANGED_FOR = "200 millis"

/** A file that never rests is read all the same after so many looks. */
const MOST_LOOKS = 25

/** The signature of a file: it changes with the file itself, its size and its time of writing. */
export const signatureOf = (fileSystem: FileSystem.FileSystem, path: string): Effect.Effect<string> =>
  Effect.match(fileSystem.stat(path), {
    onSuccess: ({ dev, ino, mtime, size }) => {
      const written = Option.map(mtime, (at) => at.getTime())
      return [dev, Option.getOrUndefined(ino), Option.getOrUndefined(written), size].join()
    },
    onFailure: ({ reason }) => reason._tag
  })

/** Runs `changed` each time that the file is another than `seen` was, until it is interrupted. */
export const watchFile = (
  fileSystem: FileSystem.FileSystem,
  path: string,
  seen: string,
  changed: Effect.Effect<void>
): Effect.Effect<never> => {
  const event = Latch.makeUnsafe(false)
  const signature = signatureOf(fileSystem, path)
  const rested = (before: string, looks: number): Effect.Effect<string> =>
    Effect.flatMap(
      Effect.andThen(backgroundSleep(UNCHANGED_FOR), signature),
      (now) => now === before || looks === 1 ? Effect.succeed(now) : rested(now, looks - 1)
    )
  const look = (seen: string): Effect.Effect<never> =>
    Effect.raceFirst(event.await, backgroundSleep(LOOK_EVERY)).pipe(
      Effect.andThen(Effect.sync(() => event.closeUnsafe())),
      Effect.andThen(signature),
      Effect.flatMap((now) => now === seen ? Effect.succeed(seen) : rested(now, MOST_LOOKS)),
      Effect.flatMap((now) => now === seen ? look(seen) : Effect.andThen(changed, look(now)))
    )
  return Effect.raceFirst(look(seen), eventsOf(fileSystem, path, Effect.sync(() => event.openUnsafe())))
}

/** Runs `told` for each event of the file's directory. A watch that ends or cannot begin is begun again later. */
const eventsOf = (
  fileSystem: FileSystem.FileSystem,
  path: string,
  told: Effect.Effect<void>
): Effect.Effect<never> =>
  Effect.flatMap(
    Effect.serviceOption(FileSystem.WatchBackend),
    (given) =>
      Stream.runForEach(fileSystem.watch(directoryOf(path)), () => told).pipe(
        Effect.provideService(FileSystem.WatchBackend, Option.getOrElse(given, () => inBackground)),
        Effect.ignoreCause,
        Effect.andThen(backgroundSleep(LOOK_EVERY)),
        // Nobody has told what happened in between.
        Effect.andThen(told),
        Effect.forever
      )
  )

/** As the watch of Effect's `FileSystem` on Node, which would keep the process alive. */
const inBackground: FileSystem.WatchBackend["Service"] = {
  register: (path) =>
    Option.some(Stream.callback<FileSystem.WatchEvent, PlatformError>((queue) =>
      Effect.acquireRelease(
        Effect.map(nodeWatch, (watch) => {
          const watcher = watch(path, { persistent: false })
          watcher.on("change", (_, name) => Queue.offerUnsafe(queue, { _tag: "Update", path: String(name) }))
          watcher.on("error", () => Queue.endUnsafe(queue))
          watcher.on("close", () => Queue.endUnsafe(queue))
          return watcher
        }),
        (watcher) => Effect.sync(() => watcher.close())
      )
    ))
}

const directoryOf = (path: string): string => {
  const end = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"))
  return end === -1 ? "." : path.slice(0, end + 1)
}
