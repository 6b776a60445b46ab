/** The flags of a comparison, read for each call: which breaker decides, and whether both are asked. */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import { type Problem, refuse, shown } from "../../internal/Check.ts"
import { once, truthOf } from "../../internal/ConfigWords.ts"
import { logged, unhandled } from "../../internal/Log.ts"
import { type Message, messages } from "../../internal/Messages.ts"
import type { CompareOptions, Side } from "./CompareModel.ts"

export interface Flags {
  readonly decides: Side
  readonly compares: boolean
}

export const flagsOf = ({ compare, decides }: CompareOptions): Effect.Effect<Flags> => {
  refuse("Compare", [
    ...problem("decides", decides, isSide, "old, new, or an effect that succeeds with one of them"),
    ...problem("compare", compare, isBoolean, "true, false, or an effect that succeeds with one of them")
  ])
  const side = flag(decides, isSide, "old", messages.decidesFailed, sideFromConfig)
  const compares = flag(compare, isBoolean, true, messages.comparisonFlagFailed, comparesFromConfig)
  return Effect.flatMap(side, (decides) => Effect.map(compares, (compares) => ({ decides, compares })))
}

const isSide = (value: unknown): value is Side => value === "old" || value === "new"
const isBoolean = (value: unknown): value is boolean => typeof value === "boolean"

const problem = (
  field: string,
  value: unknown,
  isValid: (value: unknown) => boolean,
  range: string
): ReadonlyArray<Problem> =>
  value === undefined || isValid(value) || Effect.isEffect(value) ? [] : [{ field, value, range }]

/** A flag that is given, or read from config. An effect that fails, or succeeds with something else, is reported. */
const flag = <A>(
  given: A | Effect.Effect<A, Config.ConfigError> | undefined,
  isValid: (value: unknown) => value is A,
  otherwise: A,
  failed: Message<never>,
  fromConfig: Effect.Effect<A>
): Effect.Effect<A> => {
  if (given === undefined) return fromConfig
  if (!Effect.isEffect(given)) return Effect.succeed(given)
  const report = (cause: Cause.Cause<unknown>) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.failCause(cause as Cause.Cause<never>)
      : Effect.as(unhandled(failed, cause), otherwise)
  return Effect.matchCauseEffect(given, {
    onFailure: report,
    onSuccess: (value) => isValid(value) ? Effect.succeed(value) : report(Cause.die(new TypeError(shown(value))))
  })
}

/** A variable as one of its values. Any other text is logged, once for each `ConfigProvider`. */
const variable = <A>(
  name: string,
  valueOf: (text: string) => A | undefined,
  otherwise: A,
  unclear: Message<"value"> & { readonly level: "Warn" }
): Effect.Effect<A> =>
  Effect.gen(function*() {
    const text = yield* Effect.match(Config.withDefault(Config.String(name), ""), {
      // A source that cannot be read says nothing.
      onFailure: String,
      onSuccess: (text) => text
    })
    if (text === "") return otherwise
    const value = valueOf(text)
    if (value !== undefined) return value
    const provider = yield* ConfigProvider.ConfigProvider
    yield* once(provider, `${name} ${text}`, logged(unclear, { value: shown(text) }))
    return otherwise
  })

const sideFromConfig = variable<Side>(
  "CIRCUIT_BREAKER_DECIDES",
  (text) => {
    const word = text.trim().toLowerCase()
    return isSide(word) ? word : undefined
  },
  "old",
  messages.decidesUnclear
)

const comparesFromConfig = variable("CIRCUIT_BREAKER_COMPARISON", truthOf, true, messages.comparisonUnclear)
