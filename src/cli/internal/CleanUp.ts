/** `clean-up`: deletes what a storage keeps for longer than it needs to. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { StorageError } from "../../Storage/Storage.ts"
import { confirmed } from "./Act.ts"
import { type CliFailure, usage } from "./Failure.ts"
import { type Flags, foundStorage, layerFailure, print, storageFailure } from "./Session.ts"
import type { Found } from "./StorageUrl.ts"
import { jsonOf, spanOf } from "./Text.ts"

const DAY_MILLIS = 24 * 60 * 60 * 1000
const USUAL_IDLE_MILLIS = 60 * 60 * 1000

interface Cleaning {
  /** The act as a question. */
  readonly what: string
  readonly run: Effect.Effect<Readonly<Record<string, number>>, StorageError | CliFailure>
}

const cleaningOf = (
  { client, name, secrets }: Found,
  idleMillis: number,
  retentionMillis: number
): Effect.Effect<Cleaning, CliFailure> => {
  switch (client?._tag) {
    case "Sql":
      return Effect.map(Effect.promise(() => import("../../Storage/SqlHistory.ts")), ({ make }) => ({
        what: `delete changes older than ${spanOf(retentionMillis)}, circuits that were not used for ${
          spanOf(idleMillis)
        }, and instances that were silent for as long`,
        run: Effect.flatMap(
          client.layer,
          (layer) =>
            Effect.flatMap(
              make({ ...client.options, retention: retentionMillis }),
              ({ cleanUp }) => Effect.map(cleanUp, (cleaned) => ({ ...cleaned }))
            ).pipe(
              Effect.provide(layer),
              Effect.mapError((error) => error._tag === "StorageError" ? error : layerFailure(error, secrets))
            )
        )
      }))
    case "Redis":
      return Effect.map(Effect.promise(() => import("../../Storage/Redis.ts")), ({ repairExpiry }) => ({
        what: "give an expiry to those keys of circuits that have lost theirs",
        run: Effect.flatMap(
          client.layer,
          (layer) =>
            Effect.map(repairExpiry(client.options), (keys) => ({ keys })).pipe(
              Effect.provide(layer),
              Effect.mapError((error) => error._tag === "StorageError" ? error : layerFailure(error, secrets))
            )
        )
      }))
    case undefined:
      return Effect.fail(usage(`Services clean up ${name} by themselves: there is nothing to do from here`))
  }
}

export const cleanUp = (flags: Flags, retention: Option.Option<number>) =>
  Effect.gen(function*() {
    const found = yield* foundStorage(flags, { create: false })
    const idleMillis = Option.getOrElse(flags.idle, () => USUAL_IDLE_MILLIS)
    const { run, what } = yield* cleaningOf(found, idleMillis, Option.getOrElse(retention, () => 30 * DAY_MILLIS))
    yield* confirmed(flags, what, () => [`The clean-up of ${found.name}`])
    const cleaned = yield* Effect.mapError(
      run,
      (error) => error._tag === "StorageError" ? storageFailure(error, found.secrets) : error
    )
    const lines = Object.entries(cleaned).map(([what, count]) => `${count} ${what}`)
    yield* print(flags.json ? jsonOf(cleaned) : lines.join(", "))
  })
