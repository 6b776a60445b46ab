/** One breaker's part in the fleet of its storage, which the memberships of all its circuits share. */
import * as Duration from "effect/Duration"
import { widthFor } from "../../core/Buckets.ts"
import type { Plan } from "../../core/Plan.ts"
import type { RuleWindow } from "../../core/TripRule.ts"
import type { Storage } from "../../Storage/Storage.ts"
import { refuse } from "../Check.ts"
import type { Log } from "../Log.ts"
import type { FleetPolicy, Resolved } from "../ResolvedPolicy.ts"
import type { Connection } from "./Connection.ts"
import type { Batches, Rounds } from "./Rounds.ts"

/** Whether the fleet opens on pooled evidence, or with whichever instance trips. */
export const isPooled = ({ evidence }: FleetPolicy, { capabilities }: Storage): boolean =>
  (evidence ?? (capabilities.shared ? "pooled" : "any")) === "pooled"

const inMillis = (millis: number): string => `${millis} millis`

/** Throws a `RangeError` for a policy that a storage cannot serve: it would forget the evidence, or never see it twice. */
export const refuseUnfit = (name: string, { fleet, windows }: Resolved, storage: Storage): void => {
  if (!storage.capabilities.fences) return
  const { maxAgeMillis, syncEveryMillis } = fleet
  const idleMillis = Duration.toMillis(storage.idleTimeToLive)
  const withins = isPooled(fleet, storage) ? withinsOf(windows) : []
  // `strict` judges on one snapshot. No window is shorter than the storage's narrowest bucket.
  const shortest = maxAgeMillis === 0 ? Infinity : Math.max(widthFor(0), Math.min(...withins))
  const longest = Math.max(...withins)
  refuse(`Circuit ${JSON.stringify(name)} on storage ${JSON.stringify(storage.backend)}`, [
    ...syncEveryMillis <= Math.min(idleMillis, shortest) ? [] : [{
      field: "syncEvery",
      value: inMillis(syncEveryMillis),
      range: shortest < idleMillis
        ? `at most the shortest window of trip (${inMillis(shortest)}), in which pooled evidence must trip twice`
        : `at most the storage's idleTimeToLive (${inMillis(idleMillis)})`
    }],
    ...longest <= idleMillis ? [] : [{
      field: "trip.within",
      value: inMillis(longest),
      range: `at most the storage's idleTimeToLive (${inMillis(idleMillis)}) for pooled evidence`
    }]
  ])
}

/** The spans of time that a rule looks back over, in milliseconds. */
export const withinsOf = (windows: ReadonlyArray<RuleWindow>): ReadonlyArray<number> =>
  windows.flatMap((window) => window._tag === "Within" ? [window.duration] : [])

export interface Membership {
  readonly connection: Connection
  readonly batches: Batches
  readonly rounds: Rounds
  /** No two instances have the same, in whatever process (`Ids.ts`). */
  readonly instance: string
  readonly policy: FleetPolicy
  /** The part of the plan by which the fleet's evidence is judged and its probes are granted. */
  readonly plan: Pick<Plan, "rule" | "probes" | "successes" | "leaseMillis" | "maxOpenForMillis">
  /** Whether the fleet opens on pooled evidence, or with whichever instance trips. */
  readonly isPooled: boolean
  /** Whether successes are reported and changes polled for. Not so on memory with `any` and `local`: nobody else needs them. */
  readonly polls: boolean
  /** The `within`s of the rule, in milliseconds. */
  readonly withins: ReadonlyArray<number>
  readonly fingerprint: string
  /** Logs to the loggers of this breaker. */
  readonly log: Log
  /** Whether it was logged that another policy than its own was met. */
  hasLoggedPolicies: boolean
  /** Whether it was logged that a newer version of the library owns its circuits. */
  hasLoggedVersion: boolean
  /** Whether the breaker's scope has closed. */
  hasLeft: boolean
}
