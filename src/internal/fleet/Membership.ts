/**
 * One breaker's part in the fleet of its storage, which the memberships of all its circuits share.
 *
 * **Invariants**
 *
 * - `Engine` alone replaces the part that follows from the policy, all of it in one step. So what refers to a request that is under
 *   way, such as its `withins` or the length of its lease, is kept with the request.
 */
import * as Duration from "effect/Duration"
import { widthFor } from "../../core/Buckets.ts"
import type { Plan } from "../../core/Plan.ts"
import { type RuleWindow, windowsOf } from "../../core/TripRule.ts"
import type { Storage } from "../../Storage/Storage.ts"
import type { Problem } from "../Check.ts"
import type { Log } from "../Log.ts"
import type { FleetPolicy, Resolved } from "../ResolvedPolicy.ts"
import type { Connection } from "./Connection.ts"
import type { Drift } from "./Drift.ts"
import type { Batches, Rounds } from "./Rounds.ts"

/** Whether the fleet opens on pooled evidence, or with whichever instance trips. */
export const isPooled = ({ evidence }: FleetPolicy, { capabilities }: Storage): boolean =>
  (evidence ?? (capabilities.shared ? "pooled" : "any")) === "pooled"

const inMillis = (millis: number): string => `${millis} millis`

/** The problems of a policy that a storage cannot serve: it would forget the evidence, or never see it twice. */
export const unfit = ({ fleet, rule, throttle }: Resolved, storage: Storage): ReadonlyArray<Problem> => {
  if (!storage.capabilities.fences) return []
  const { maxAgeMillis, syncEveryMillis } = fleet
  const idleMillis = Duration.toMillis(storage.idleTimeToLive)
  const pooled = isPooled(fleet, storage)
  const withins = pooled ? withinsOf(windowsOf(rule)) : []
  const sheddingWithin = pooled && throttle !== undefined ? throttle.window.duration : -Infinity
  // `strict` judges on one snapshot. No window is shorter than the storage's narrowest bucket.
  const shortest = maxAgeMillis === 0 ? Infinity : Math.max(widthFor(0), Math.min(...withins))
  const tooLong = (field: string, within: number) =>
    within <= idleMillis ? [] : [{
      field,
      value: inMillis(within),
      range: `at most the storage's idleTimeToLive (${inMillis(idleMillis)}) for pooled evidence`
    }]
  return [
    ...syncEveryMillis <= Math.min(idleMillis, shortest) ? [] : [{
      field: "syncEvery",
      value: inMillis(syncEveryMillis),
      range: shortest < idleMillis
        ? `at most the shortest window of trip (${inMillis(shortest)}), in which pooled evidence must trip twice`
        : `at most the storage's idleTimeToLive (${inMillis(idleMillis)})`
    }],
    ...tooLong("trip.within", Math.max(...withins)),
    ...tooLong("throttle.within", sheddingWithin)
  ]
}

/** The spans of time that a rule looks back over, in milliseconds. */
export const withinsOf = (windows: ReadonlyArray<RuleWindow>): ReadonlyArray<number> =>
  windows.flatMap((window) => window._tag === "Within" ? [window.duration] : [])

/** The part of a membership that follows from the policy. */
export interface InForce {
  readonly rounds: Rounds
  readonly policy: FleetPolicy
  /** The part of the plan by which the fleet's evidence is judged and its probes are granted. */
  readonly plan: Pick<
    Plan,
    "rule" | "throttle" | "probes" | "successes" | "failures" | "leaseMillis" | "maxOpenForMillis"
  >
  /** Whether the fleet opens on pooled evidence, or with whichever instance trips. */
  readonly isPooled: boolean
  /** Whether successes are reported and changes polled for. Not so on memory with `any` and `local`: nobody else needs them. */
  readonly polls: boolean
  /** Whether the fleet trips in an alert alone: on pooled evidence, where the storage has bells. Not so under `strict`. */
  readonly alerts: boolean
  /** Whether its healthy circuits report rarely, as long as the storage's bell works. */
  readonly isQuiet: boolean
  /** How long a healthy circuit is silent then. */
  readonly lazyMillis: number
  /** The `within`s of the rule, in milliseconds. */
  readonly withins: ReadonlyArray<number>
}

export interface Membership extends InForce {
  readonly connection: Connection
  readonly batches: Batches
  /** No two instances have the same, in whatever process (`Ids.ts`). */
  readonly instance: string
  /** The fingerprint of the policy, and whether others have another. */
  readonly drift: Drift
  /** Logs to the loggers of this breaker. */
  readonly log: Log
  /** Whether it was logged that a newer version of the library owns its circuits. */
  hasLoggedVersion: boolean
  /** Whether the breaker's scope has closed. */
  hasLeft: boolean
}
