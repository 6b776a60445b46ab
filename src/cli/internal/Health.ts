/** `health`: whether the storage keeps what is written to it. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { check } from "../../Storage/Health.ts"
import type { Output } from "../Output.ts"
import { no } from "./Failure.ts"
import { type Flags, print, storageText, withStorage } from "./Session.ts"
import { isoOf, jsonOf, spanOf } from "./Text.ts"

export const health = (flags: Flags) =>
  withStorage(flags, ({ secrets, storage }) =>
    Effect.gen(function*() {
      const { at, backend, error, healthy, latency, verified } = yield* check(storage, {
        deadline: Duration.millis(flags.deadlineMillis)
      })
      const output: Output.Health = {
        backend,
        healthy,
        verified,
        latency: Duration.toMillis(latency),
        at: isoOf(at),
        error: error === undefined ? null : storageText(error, secrets)
      }
      yield* print(
        flags.json
          ? jsonOf(output)
          : healthy
          ? `${backend} is healthy: a record was written and read back in ${spanOf(output.latency)}`
          : `${backend} is not healthy: ${output.error}`
      )
      if (!healthy) return yield* no
    }))
