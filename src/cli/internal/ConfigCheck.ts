/** `config check`: every problem of a configuration file, or what each of its services would go by. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { BreakerConfig, layer } from "../../config/BreakerConfig.ts"
import { inWords } from "../../internal/PolicyInForce.ts"
import { given } from "../../internal/ResolvedPolicy.ts"
import { Data } from "../../Policy.ts"
import type { Output } from "../Output.ts"
import { no } from "./Failure.ts"
import { type Flags, print } from "./Session.ts"
import { jsonOf, nameOf, safe } from "./Text.ts"

type Service = Output.ConfigCheck["services"][number]
type Configured = Effect.Success<ReturnType<BreakerConfig["Service"]["service"]>>
type Checked = Configured & { readonly service: string }

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
      (service) => Effect.map(config.service(service), (configured) => ({ service, ...configured }))
    )
  })

const outputOf = ({ data, from, service }: Checked): Service => ({ service, policy: policyOf(data), from })

/** The parts of a field, such as `throttle.k`, are one line. */
const linesOf = ({ data, from, service }: Checked): ReadonlyArray<string> => {
  const words = inWords(data)
  const sources = new Map<string, Set<string>>()
  for (const [field, source] of Object.entries(from)) {
    const whole = field in words ? field : field.slice(0, field.lastIndexOf("."))
    sources.set(whole, (sources.get(whole) ?? new Set()).add(source))
  }
  return [
    safe(service),
    ...Array.from(sources, ([field, all]) => `  ${field}: ${words[field]}  (${safe([...all].join(", "))})`)
  ]
}

export const checkConfig = (flags: Flags, file: string) =>
  Effect.scoped(Effect.gen(function*() {
    const built = yield* Layer.build(layer({ file })).pipe(
      // The messages are those of the start of a program.
      Effect.provideService(References.MinimumLogLevel, "Warn"),
      Effect.result
    )
    const services = Result.isFailure(built) ? [] : yield* servicesOf(Context.get(built.success, BreakerConfig))
    if (flags.json) {
      const problems = Result.isFailure(built) ? built.failure.problems : []
      const output: Output.ConfigCheck = { file, problems, services: services.map(outputOf) }
      yield* print(jsonOf(output))
    } else {
      const lines = Result.isFailure(built)
        ? built.failure.message.split("\n").map(safe)
        : [`${nameOf(file)} is right.`, ...services.flatMap(linesOf)]
      yield* print(lines.join("\n"))
    }
    if (Result.isFailure(built)) return yield* no
  }))
