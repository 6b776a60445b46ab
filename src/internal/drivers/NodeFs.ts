/** Node's own watch of files, loaded where it is used, because a program on another platform does not have it. */
import * as Effect from "effect/Effect"
import type { watch } from "node:fs"

export const nodeWatch: Effect.Effect<typeof watch> = Effect.promise(async () => (await import("node:fs")).watch)
