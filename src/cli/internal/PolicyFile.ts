/** Policies in files. */
import * as Effect from "effect/Effect"
import type { FileSystem } from "effect/FileSystem"
import * as Schema from "effect/Schema"
import { isObject, refuse } from "../../internal/Check.ts"
import { prefixIn, prefixOf } from "../../internal/CircuitName.ts"
import { dataOf, fingerprint, merge, problems } from "../../internal/ResolvedPolicy.ts"
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

/** A configuration file has the key `circuit_breaker`, which is no field of a policy. */
const isConfiguration = (document: unknown): boolean => isObject(document) && Object.hasOwn(document, "circuit_breaker")

const MOST_NAMED = 10

/** The service of a configuration file that the circuit is of: of its name, or of the name of the keyed breaker that has it. */
const serviceOf = (services: ReadonlyArray<string>, circuit: string): string | undefined =>
  services.includes(circuit) ? circuit : services.find((service) => prefixOf(service) === prefixIn(circuit))

/** The policy of a circuit by a configuration file: the fields of its service, over the defaults. */
const configured = (file: string, document: unknown, circuit: string) =>
  Effect.gen(function*() {
    const { File } = yield* Effect.promise(() => import("../../config/BreakerConfig.ts"))
    const { circuit_breaker: { defaults, services = {} } = {} } = yield* Effect.mapError(
      Effect.fromResult(Schema.decodeUnknownResult(File)(document)),
      (error) => usage(`${nameOf(file)} is no configuration: ${error.message.split("\n").map(safe).join("\n")}`)
    )
    const names = Object.keys(services)
    const service = serviceOf(names, circuit)
    if (service === undefined && defaults === undefined) {
      const listed = names.slice(0, MOST_NAMED).map(nameOf).join(", ") + (names.length > MOST_NAMED ? ", …" : "")
      return yield* usage(
        `${nameOf(file)} has no policy for ${nameOf(circuit)}: it has no defaults, and ${
          names.length === 0 ? "no services" : `its services are ${listed}`
        }`
      )
    }
    // Without what only keyed breakers have.
    const data = dataOf(merge<Data>(defaults ?? {}, service === undefined ? {} : services[service]!))
    yield* Effect.try({
      try: () => refuse(`${nameOf(file)} has no policy for ${nameOf(circuit)}`, problems(data)),
      catch: (error) => usage(safe((error as RangeError).message))
    })
    return { data, of: service ?? "defaults" }
  })

/**
 * The policy of a file of JSON, YAML or TOML for a circuit. The file has the form of `Breaker.Data`, or it is a configuration file,
 * which says what each service goes by.
 */
export const readPolicy = (file: string, circuit: string): Effect.Effect<NamedPolicy, CliFailure, FileSystem> =>
  Effect.gen(function*() {
    const document = yield* parsed(file, yield* readText(file))
    const name = file.replace(/^.*\//, "").replace(/\.[a-z]+$/i, "")
    if (isConfiguration(document)) {
      const { data, of } = yield* configured(file, document, circuit)
      return { name: `${name} (${of})`, data }
    }
    const data = yield* Effect.mapError(
      Effect.fromResult(Schema.decodeUnknownResult(Data)(document)),
      (error) => usage(`${nameOf(file)} is no policy: ${safe(error.message)}`)
    )
    return { name, data }
  })

/** The fingerprint of the policy, as storages keep it. */
export const fingerprintOf = (file: string, circuit: string) =>
  Effect.map(readPolicy(file, circuit), ({ data }) => fingerprint(data))
