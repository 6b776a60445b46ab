/** The fleet's view of a circuit as `Breaker.snapshot` shows it. */
import * as Duration from "effect/Duration"
import type { LocalMillis } from "../../core/Time.ts"
import { type Evidence, standing } from "../../core/TripRule.ts"
import type { FleetSnapshot } from "../../Event.ts"
import type { Snapshot } from "../../Storage/Storage.ts"
import { windowSnapshot } from "../Snapshot.ts"
import type { Membership } from "./Membership.ts"

/** The fields of a membership that it is made of. */
interface Source extends Evidence {
  readonly membership: Membership
  readonly snapshot: Snapshot
  readonly answeredAt: LocalMillis
  readonly requestedAt: LocalMillis
  readonly isAway: boolean
  readonly drift: string | undefined
  readonly lagMillis: number | undefined
  /** Outcomes that the storage has not acknowledged. */
  readonly waiting: number
  /** Outcomes of reports that were given up. */
  readonly lost: number
}

export const fleetSnapshotOf = (member: Source, now: LocalMillis): FleetSnapshot => {
  const { answeredAt, isAway, lagMillis, lost, membership, requestedAt, snapshot, waiting } = member
  const { failure, ignored, opened, rejected, slow, success, timeout } = snapshot.lifetime
  const { state } = snapshot
  const { storage, subscription } = membership.connection
  const isClosed = state._tag === "Closed"
  return {
    backend: storage.backend,
    reachable: !isAway,
    ...subscription === undefined ? {} : {
      subscription: { active: subscription.isActive, for: Duration.millis(now - subscription.since) }
    },
    generation: snapshot.generation,
    state: state._tag,
    remaining: state._tag === "Open"
      ? Duration.millis(Math.max(0, state.remaining - (now - answeredAt)))
      : undefined,
    why: snapshot.why?.reason,
    evidence: snapshot.why?.evidence,
    whyNot: membership.isPooled && isClosed ? standing(membership.plan.rule, member) : undefined,
    drift: member.drift,
    consecutiveFailures: snapshot.streak,
    windows: snapshot.totals.map((totals, i) =>
      windowSnapshot({ _tag: "Within", duration: membership.withins[i]! }, totals)
    ),
    statistics: { success, failure, ignored, timeout, slow, rejected, timesOpened: opened },
    age: requestedAt === -Infinity ? undefined : Duration.millis(now - requestedAt),
    lag: lagMillis === undefined ? undefined : Duration.millis(lagMillis),
    waiting,
    lost
  }
}
