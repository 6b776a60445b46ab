/** `config check`: every problem of a configuration file, or what each of its services would go by. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { BreakerConfig, layer } from "../../config/BreakerConfig.ts"
import { given } from "../../internal/ResolvedPolicy.ts"
import { Data } from "../../Policy.ts"
import type { Output } from "../Output.ts"
import { no } from "./Failure.ts"
import { type Flags, print } from "./Session.ts"
import { jsonOf, nameOf, safe } from "./Text.ts"

type Service = Output.ConfigCheck["services"][number]
type Configured = Effect.Success<ReturnType<BreakerConfig["Service"]["service"]>>

const policyOf = ({ capacity, idleTimeToLive, neverOpenMoreThan, overflow, ...data }: Configured["data"]): object => ({
  ...Result.getOrElse(Schema.encodeUnknownResult(Data)(given(data)), () => ({})) as object,
  ...given({
    capacity,
    idleTimeToLive: idleTimeToLive === undefined
      ? undefined
      : Duration.toMillis(Duration.fromInputUnsafe(idleTimeToLive)),
    overflow,
    neverOpenMoreThan
  })
})

const servicesOf = (config: BreakerConfig["Service"]) =>
  Effect.gen(function*() {
    const { circuit_breaker: section } = yield* config.file
    return yield* Effect.forEach(
      Object.keys(section?.services ?? {}),
      (service) =>
        Effect.map(config.service(service), ({ data, from }): Service => ({ service, policy: policyOf(data), from }))
    )
  })

const valueAt = (policy: unknown, field: string): string => {
  const value = field.split(".").reduce<unknown>(
    (at, key) => (at as Record<string, unknown> | undefined)?.[key],
    policy
  )
  return value === undefined ? "" : ` ${safe(JSON.stringify(value))}`
}

const report = (file: string, services: ReadonlyArray<Service>): string =>
  [
    `${nameOf(file)} is right.`,
    ...services.flatMap(({ from, policy, service }) => [
      safe(service),
      ...Object.entries(from).map(([field, source]) => `  ${field}${valueAt(policy, field)}  (${safe(source)})`)
    ])
  ].join("\n")

export const checkConfig = (flags: Flags, file: string) =>
  Effect.scoped(Effect.gen(function*() {
    const built = yield* Layer.build(layer({ file })).pipe(
      // The messages are those of the start of a program.
      Effect.provideService(References.MinimumLogLevel, "Warn"),
      Effect.result
    )
    const output: Output.ConfigCheck = Result.isFailure(built)
      ? { file, problems: built.failure.problems, services: [] }
      : { file, problems: [], services: yield* servicesOf(Context.get(built.success, BreakerConfig)) }
    yield* print(
      flags.json
        ? jsonOf(output)
        : Result.isFailure(built)
        ? built.failure.message.split("\n").map(safe).join("\n")
        : report(file, output.services)
    )
    if (Result.isFailure(built)) return yield* no
  }))
