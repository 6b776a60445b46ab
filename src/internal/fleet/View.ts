/** A snapshot of the storage as the state that an instance adopts: its times by the local clock, counted from the answer. */
import type { FleetState, FleetView, OpenedBy } from "../../core/State.ts"
import type { LocalMillis } from "../../core/Time.ts"
import type { Snapshot } from "../../Storage/Storage.ts"
import type { Membership } from "./Membership.ts"

/** `probes` is the reader's own policy's: how many probes are free is the reader's to say. */
export const fleetStateOf = ({ state }: Snapshot, probes: number, now: LocalMillis): FleetState => {
  switch (state._tag) {
    case "Closed":
      return state
    case "Open":
      return { _tag: "Open", until: now + state.remaining }
    case "HalfOpen": {
      const { failures = 0, live, nextLapse = 0, probesIn, successes } = state
      return {
        _tag: "HalfOpen",
        successes,
        failures,
        freeAt: live < probes ? now : now + nextLapse,
        probesFrom: probesIn === undefined ? 0 : now + probesIn
      }
    }
  }
}

/** Until when the snapshot's override holds: no longer than now where there is none. */
export const overrideUntil = ({ override }: Snapshot, now: LocalMillis): LocalMillis =>
  override === undefined ? now : now + (override.remaining ?? Infinity)

/**
 * The reason of a half-open round says nothing about the opening before it: `openedBefore` is whose evidence that was, and `fleet` where
 * this instance has not seen it.
 */
export const fleetViewOf = (
  snapshot: Snapshot,
  { instance, plan: { probes } }: Membership,
  openedBefore: OpenedBy,
  operator: string | undefined,
  now: LocalMillis
): FleetView => {
  const { elapsed, openFor, openings, override, state, why } = snapshot
  const evidence = why?.evidence as { readonly instance?: unknown } | null | undefined
  return {
    state: fleetStateOf(snapshot, probes, now),
    since: elapsed === undefined ? -Infinity : now - elapsed,
    reason: why?.reason,
    openedBy: state._tag === "HalfOpen"
      ? openedBefore
      : state._tag === "Open" && evidence?.instance === instance
      ? "instance"
      : "fleet",
    openings,
    openForMillis: openFor,
    override: override === undefined ? undefined : {
      mode: override.kind,
      reason: override.reason,
      actor: override.actor,
      until: overrideUntil(snapshot, now)
    },
    evidence,
    operator
  }
}
