/** Policies in files. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { fingerprint } from "../../internal/ResolvedPolicy.ts"
import { Data } from "../../Policy.ts"
import { type CliFailure, usage } from "./Failure.ts"
import { readText } from "./Files.ts"
import { nameOf, safe } from "./Text.ts"

export interface NamedPolicy {
  readonly name: string
  readonly data: Data
}

const parsed = (file: string, text: string): Effect.Effect<unknown, CliFailure> => {
  const wrong = (error: unknown) =>
    usage(`${nameOf(file)} cannot be read: ${safe(error instanceof Error ? error.message : String(error))}`)
  if (/\.ya?ml$/i.test(file)) {
    return Effect.flatMap(
      Effect.promise(() => import("effect/encoding/Yaml")),
      ({ parse }) => Effect.try({ try: () => parse(text), catch: wrong })
    )
  }
  if (/\.toml$/i.test(file)) {
    return Effect.flatMap(
      Effect.promise(() => import("effect/encoding/Toml")),
      ({ parse }) => Effect.mapError(Effect.fromResult(parse(text)), wrong)
    )
  }
  return Effect.try({ try: (): unknown => JSON.parse(text), catch: wrong })
}

/** A policy of a file: JSON, YAML or TOML, in the form of `Breaker.Data`. */
export const readPolicy = (file: string) =>
  Effect.gen(function*() {
    const document = yield* parsed(file, yield* readText(file))
    const data = yield* Effect.mapError(
      Effect.fromResult(Schema.decodeUnknownResult(Data)(document)),
      (error) => usage(`${nameOf(file)} is no policy: ${safe(error.message)}`)
    )
    return { name: file.replace(/^.*\//, "").replace(/\.[a-z]+$/i, ""), data }
  })

/** The fingerprint of the policy, as storages keep it. */
export const fingerprintOf = (file: string) => Effect.map(readPolicy(file), ({ data }) => fingerprint(data))
