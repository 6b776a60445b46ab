/**
 * Reading the configuration again while its breakers run.
 *
 * **Invariants**
 *
 * - Readings happen one after the other. What was read is checked for every breaker and put in force in one step, so that a reading with
 *   a problem changes nothing.
 */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import * as Semaphore from "effect/Semaphore"
import type { PolicyChange } from "../../Breaker.ts"
import type { Problem as Refused } from "../../internal/Check.ts"
import { logged } from "../../internal/Log.ts"
import { messages } from "../../internal/Messages.ts"
import { inForceOf } from "../../internal/PolicyInForce.ts"
import { allSettingsFor, type Configured, enabledIn, type Live, type Loaded, policyFor } from "./Live.ts"
import { BreakerConfigError, type Problem, problemAt } from "./Problem.ts"
import { located } from "./Settings.ts"

/** The changes of a reading: the circuits that have another policy now. */
export interface Reloaded {
  readonly source: string
  readonly circuits: ReadonlyArray<{ readonly name: string; readonly changed: ReadonlyArray<PolicyChange> }>
}

/** Results that wait for a listener. Beyond that, the oldest are dropped. */
const MOST_WAITING = 64

export class Reload {
  readonly #live: Live
  readonly #turn = Semaphore.makeUnsafe(1)
  readonly results: PubSub.PubSub<Result.Result<Reloaded, BreakerConfigError>>

  constructor(live: Live, results: PubSub.PubSub<Result.Result<Reloaded, BreakerConfigError>>) {
    this.#live = live
    this.results = results
  }

  static readonly make = (live: Live): Effect.Effect<Reload> =>
    Effect.map(
      PubSub.sliding<Result.Result<Reloaded, BreakerConfigError>>(MOST_WAITING),
      (results) => new Reload(live, results)
    )

  /** Reads again and puts what was read in force. */
  readonly run: Effect.Effect<Reloaded, BreakerConfigError> = Effect.suspend(() =>
    this.#turn.withPermits(1)(Effect.flatMap(this.#read, (loaded) => this.#put(loaded)))
  ).pipe(
    Effect.tap((reloaded) => PubSub.publish(this.results, Result.succeed(reloaded))),
    Effect.tapError((error) => PubSub.publish(this.results, Result.fail(error)))
  )

  /** For a watch, which has no caller: what is wrong is logged. */
  readonly runInBackground: Effect.Effect<void> = Effect.matchEffect(this.run, {
    onSuccess: () => Effect.void,
    onFailure: ({ message }) => logged(messages.reloadFailed, { source: this.#live.loaded.source, problems: message })
  })

  readonly #read = Effect.suspend(() => this.#live.read(this.#live.loaded.environment.keys()))

  #put(read: Loaded): Effect.Effect<Reloaded, BreakerConfigError> {
    return Effect.suspend(() => {
      const live = this.#live
      const before = live.loaded
      // A breaker may have been made since the reading began. Its part of the environment is the same as then.
      const loaded = { ...read, environment: new Map([...before.environment, ...read.environment]) }
      const found = [...live.breakers].map((service) => planned(loaded, service))
      const problems = found.flatMap(({ problems }) => problems)
      if (problems.length > 0) return Effect.fail(new BreakerConfigError({ problems }))
      live.loaded = loaded
      const circuits = found.map(({ name, put }) => ({ name, changed: put() })).filter(({ changed }) =>
        changed.length > 0
      )
      const reloaded = { source: loaded.source, circuits }
      return Effect.as(tell(before, loaded, reloaded), reloaded)
    })
  }
}

/** The policy of a breaker by a reading: what is wrong with it, and how it is put in force. */
const planned = (loaded: Loaded, service: Configured) => {
  const { breaker, name } = service
  const resolved = policyFor(loaded, service)
  const inForce = inForceOf(breaker)
  if ("problems" in resolved) return { name, problems: resolved.problems, put: () => [] }
  if (inForce === undefined) return { name, problems: [], put: () => [] }
  const { policy } = resolved
  const problems = inForce.problems(policy)
  return { name, problems: placed(loaded, service, problems), put: () => inForce.replace(policy) }
}

/** Where the problems of a policy with its breaker come from, such as with the breaker's storage. */
const placed = (loaded: Loaded, service: Configured, found: ReadonlyArray<Refused>): ReadonlyArray<Problem> => {
  const places = located(allSettingsFor(loaded, service), found)
  const { source } = loaded
  return places.length > 0
    ? places
    : found.map(({ field, range }) =>
      problemAt({ source, line: undefined, path: [service.name, field], value: undefined }, range)
    )
}

/** Logs a reload. A setting that is read at the start only holds from the next start on, and the log says so. */
const tell = (before: Loaded, after: Loaded, { circuits, source }: Reloaded): Effect.Effect<void> => {
  const fixed = Object.entries(fixedSettings).flatMap(([name, of]) => of(before) === of(after) ? [] : [name])
  const names = circuits.map(({ name }) => name).join(", ")
  return Effect.andThen(
    logged(messages.reloaded, { source, circuits: names === "" ? "none" : names }),
    fixed.length === 0 ? Effect.void : logged(messages.reloadFixed, { source, settings: fixed.join(", ") })
  )
}

/** Only whether they differ is told, because an address may hold a password. */
const fixedSettings: Readonly<Record<string, (loaded: Loaded) => unknown>> = {
  "enabled": (loaded) => enabledIn(loaded)?.value ?? true,
  "persistence": ({ file, switches }) => (switches.persistence ?? file.persistence)?.value ?? "memory",
  "redis.url": ({ file }) => file.redisUrl?.value,
  "redis.pool_size": ({ file }) => file.redisPoolSize?.value
}
