/**
 * The configuration of a process while it runs: what was read last, and which breakers were made of it.
 *
 * **Invariants**
 *
 * - `loaded` is one reading of the file and the environment, and has no problems. A reading that has some replaces nothing.
 * - `breakers` holds exactly the breakers whose layer, made by `layerFor`, is in use.
 */
import type * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import type { Breaker, KeyedBreaker, KeyedOptions } from "../../Breaker.ts"
import { nearest } from "../../internal/Check.ts"
import { inForceOf } from "../../internal/PolicyInForce.ts"
import { merge, undeclared } from "../../internal/ResolvedPolicy.ts"
import type { Policy } from "../../Policy.ts"
import type { Decoded, Given } from "./Decode.ts"
import { readService, type Switches } from "./Environment.ts"
import { BreakerConfigError, type Problem, problemAt } from "./Problem.ts"
import {
  dataOf,
  dataProblems,
  located,
  merged,
  type ServiceData,
  type Settings,
  settingsProblems,
  sourcesOf
} from "./Settings.ts"

/** File and environment, as they were read at one moment. */
export interface Loaded {
  /** The file's path, or `the environment` where there is none. */
  readonly source: string
  readonly file: Decoded
  readonly switches: Switches
  /** The environment's settings of each service of the file, and of each that was asked for. */
  readonly environment: ReadonlyMap<string, Settings>
}

/** A breaker's class, as far as configuration goes. */
export interface Class {
  readonly name: string
  readonly isKeyed: boolean
  readonly policy: Policy & KeyedOptions
}

/** A breaker that was made of the configuration. */
export interface Configured extends Class {
  readonly breaker: Breaker<unknown> | KeyedBreaker<unknown>
}

/** The policy of a class beneath `Breaker.Defaults`, or what is wrong with it. */
export type Resolved = { readonly policy: Policy & KeyedOptions } | { readonly problems: ReadonlyArray<Problem> }

/** Of a service: the environment over the file. */
export const settingsFor = ({ environment, file }: Loaded, service: string): Settings =>
  merged(file.services.get(service) ?? new Map(), environment.get(service) ?? new Map())

/** A field of keyed breakers is a mistake in a service without keys. Among the defaults it is meant for the services with keys. */
const defaultsFor = ({ file: { defaults } }: Loaded, isKeyed: boolean): Settings =>
  isKeyed ? defaults : new Map([...defaults].filter(([, { field }]) => !field.isKeyed))

/** All that is configured for a class: the environment over the file's service over the file's defaults. */
export const allSettingsFor = (loaded: Loaded, { isKeyed, name }: Class): Settings =>
  merged(defaultsFor(loaded, isKeyed), settingsFor(loaded, name))

/** The environment over the file's service over the class over the file's defaults. */
export const policyFor = (loaded: Loaded, { isKeyed, name, policy }: Class): Resolved => {
  const settings = settingsFor(loaded, name)
  const beneath = defaultsFor(loaded, isKeyed)
  const misplaced = isKeyed
    ? []
    : [...settings.values()].filter(({ field }) => field.isKeyed).map(({ at }) =>
      problemAt(at, `left out, because ${JSON.stringify(name)} is not a keyed breaker`)
    )
  const alone = [...misplaced, ...settingsProblems(settings)]
  if (alone.length > 0) return { problems: alone }
  const whole = merge<Policy & KeyedOptions>(merge(dataOf(beneath), policy), dataOf(settings))
  const both = merged(beneath, settings)
  const problems = [...located(both, undeclared(policy, whole)), ...dataProblems(both, whole)]
  return problems.length > 0 ? { problems } : { policy: whole }
}

/** The enabled state that counts: the environment's before the file's. */
export const enabledIn = ({ file, switches }: Loaded): Given<boolean> | undefined => switches.enabled ?? file.enabled

/** Variables that two services would read: none can know whose it is. */
export const sharedVariables = (environment: ReadonlyMap<string, Settings>): ReadonlyArray<Problem> => {
  const readers = new Map<string, string>()
  const found: Array<Problem> = []
  for (const [service, settings] of environment) {
    for (const { at } of settings.values()) {
      const other = readers.get(at.source)
      if (other === undefined) readers.set(at.source, service)
      else {
        const names = `${JSON.stringify(other)} and ${JSON.stringify(service)}`
        found.push(problemAt(at, `left out, because it would be of both ${names}: rename one of them`))
      }
    }
  }
  return found
}

export class Live {
  loaded: Loaded
  readonly breakers = new Set<Configured>()
  readonly provider: ConfigProvider.ConfigProvider
  /** Reads everything again: of the services of the file, and of these. */
  readonly read: (services: Iterable<string>) => Effect.Effect<Loaded, BreakerConfigError>

  constructor(
    loaded: Loaded,
    provider: ConfigProvider.ConfigProvider,
    read: (services: Iterable<string>) => Effect.Effect<Loaded, BreakerConfigError>
  ) {
    this.loaded = loaded
    this.provider = provider
    this.read = read
  }

  /** The policy of a class by what is loaded. */
  policyOf(service: Class): Effect.Effect<Policy & KeyedOptions, BreakerConfigError> {
    return Effect.flatMap(this.#withEnvironmentOf(service.name), (loaded) => {
      const resolved = policyFor(loaded, service)
      return "policy" in resolved
        ? Effect.succeed(resolved.policy)
        : Effect.fail(new BreakerConfigError({ problems: resolved.problems }))
    })
  }

  /** The settings of a service, by file and environment. A variable that cannot be used is left out here, and refused by `policyOf`. */
  dataOf(
    service: string
  ): Effect.Effect<{ readonly data: ServiceData; readonly from: Readonly<Record<string, string>> }> {
    return Effect.map(Effect.orElseSucceed(this.#withEnvironmentOf(service), () => this.loaded), (loaded) => {
      const settings = settingsFor(loaded, service)
      return { data: dataOf(settings), from: sourcesOf(settings) }
    })
  }

  /** The services of the file that configure no breaker. */
  unused(): ReadonlyArray<Problem> {
    const names = [...this.breakers].map(({ name }) => name)
    return [...this.loaded.file.serviceKeys].filter(([service]) => !names.includes(service)).map(([service, at]) => {
      const near = nearest(service, names)
      return problemAt(
        { ...at, value: undefined },
        `the name of a breaker that layerFor makes${near === undefined ? "" : ` (did you mean ${near}?)`}`
      )
    })
  }

  /** Keeps a breaker that was made of the configuration, so that a reload reaches it, for as long as the scope is open. */
  keep(breaker: Configured): Effect.Effect<void, never, Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        this.breakers.add(breaker)
        // The configuration may have been read again while the breaker was made.
        const inForce = inForceOf(breaker.breaker)
        const resolved = policyFor(this.loaded, breaker)
        if (inForce === undefined || "problems" in resolved) return
        if (inForce.problems(resolved.policy).length === 0) inForce.replace(resolved.policy)
      }),
      () => Effect.sync(() => this.breakers.delete(breaker))
    )
  }

  /** The configuration in force, with the environment of a service that the file does not have. */
  #withEnvironmentOf(service: string): Effect.Effect<Loaded, BreakerConfigError> {
    return Effect.suspend(() => {
      if (this.loaded.environment.has(service)) return Effect.succeed(this.loaded)
      const found: Array<Problem> = []
      return Effect.flatMap(readService(this.provider, service, found), (settings) => {
        const environment = new Map([...this.loaded.environment, [service, settings]])
        const problems = [...found, ...sharedVariables(environment)]
        if (problems.length > 0) return Effect.fail(new BreakerConfigError({ problems }))
        this.loaded = { ...this.loaded, environment }
        return Effect.succeed(this.loaded)
      })
    })
  }
}
