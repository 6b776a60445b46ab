/** The settings of the environment, read by a `ConfigProvider`. */
import * as Config from "effect/Config"
import type * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ENABLED, TRUTH_ALLOWED } from "../../internal/ConfigWords.ts"
import { reportUnread } from "../../internal/PolicyConfig.ts"
import { enabledOf, type Given, type Persistence, persistenceOf, PERSISTENCES } from "./Decode.ts"
import { fields, prefixOf, variables } from "./Fields.ts"
import { type At, insideOf, type Problem, problemAt } from "./Problem.ts"
import { type Setting, type Settings, settingsFrom } from "./Settings.ts"
import { readValue } from "./Values.ts"

export const PERSISTENCE = "CIRCUIT_BREAKER_PERSISTENCE"
export const CONFIG_FILE = "CIRCUIT_BREAKER_CONFIG"

const atVariable = (name: string, value: unknown): At => ({ source: name, line: undefined, path: [name], value })

/** A variable's text, if it is set and not empty. */
export const readVariable = (
  provider: ConfigProvider.ConfigProvider,
  name: string,
  found: Array<Problem>,
  prefix?: string
): Effect.Effect<At | undefined> => {
  const config = prefix === undefined ? Config.String(name) : Config.nested(Config.String(name), prefix)
  const whole = prefix === undefined ? name : `${prefix}_${name}`
  return Effect.match(Config.option(config).parse(provider), {
    onSuccess: (text) => Option.isSome(text) && text.value.trim() !== "" ? atVariable(whole, text.value) : undefined,
    onFailure: () => {
      found.push(problemAt(atVariable(whole, undefined), "a text that the ConfigProvider can read"))
      return undefined
    }
  })
}

const readGiven = Effect.fnUntraced(function*<A>(
  provider: ConfigProvider.ConfigProvider,
  name: string,
  read: (value: unknown) => A | undefined,
  allowed: string,
  found: Array<Problem>
) {
  const at = yield* readVariable(provider, name, found)
  if (at === undefined) return undefined
  const value = read(at.value)
  if (value === undefined) found.push(problemAt(at, allowed))
  return value === undefined ? undefined : { value, at } satisfies Given<A>
})

/** The settings of all breakers. */
export interface Switches {
  readonly enabled: Given<boolean> | undefined
  readonly persistence: Given<Persistence> | undefined
}

export const readSwitches = (
  provider: ConfigProvider.ConfigProvider,
  found: Array<Problem>
): Effect.Effect<Switches> =>
  Effect.all({
    enabled: readGiven(provider, ENABLED, enabledOf, TRUTH_ALLOWED, found),
    persistence: readGiven(provider, PERSISTENCE, persistenceOf, `one of ${PERSISTENCES.join(", ")}`, found)
  })

/** The settings of a service. */
export const readService = Effect.fnUntraced(function*(
  provider: ConfigProvider.ConfigProvider,
  service: string,
  found: Array<Problem>
): Effect.fn.Return<Settings> {
  const prefix = prefixOf(service)
  const given: Array<Setting> = []
  for (const field of fields) {
    if (field.variable === undefined) continue
    const at = yield* readVariable(provider, field.variable, found, prefix)
    if (at === undefined) continue
    const result = readValue(field.kind, at, "environment", insideOf)
    if ("problems" in result) found.push(...result.problems)
    else given.push({ field, value: result.value, at })
  }
  return settingsFrom(given, found)
})

/** Logs the variables of a service that are not read, but were probably meant to be. */
export const reportVariables = (provider: ConfigProvider.ConfigProvider, service: string): Effect.Effect<void> =>
  Effect.ignore(reportUnread(prefixOf(service), variables).parse(provider))
