/** Encodes requests as the input of the scripts, which they decode with `cjson`. */
import { historyWhy } from "../core/Change.ts"
import { isEmpty } from "../core/Delta.ts"
import { overrideWord, stateWord } from "../core/Words.ts"
import type { Change, LeaseName, Probe, Report, Snapshot } from "../Storage/Storage.ts"

/**
 * A report without counts is a pure read, and carries no delta. Of the delta, counts of zero and what a storage does not need
 * are left out, because the script decodes whatever it is sent.
 */
export const encodeReport = ({ delta, ...report }: Report): object => {
  if (isEmpty(delta)) return report
  const { buckets, hint, lifetime, streak: { sawSuccess, trailing } } = delta
  const counted = Object.entries(lifetime).filter(([what, value]) => value !== 0 || what.startsWith("last"))
  return {
    ...report,
    counts: true,
    buckets,
    hint,
    lifetime: Object.fromEntries(counted),
    streak: { sawSuccess, trailing }
  }
}

/** `why` is stored in the record, `row` in the history. Both are JSON already, because `cjson` would change it. */
export const encodeChange = (change: Change): object => {
  switch (change._tag) {
    case "Trip": {
      const why = JSON.stringify(change.why)
      return { ...change, why, row: why }
    }
    case "PutBack":
      return {
        ...change,
        snapshot: encodeSnapshot(change.snapshot),
        leases: change.leases.map(({ remaining, ...name }) => ({ name: encodeLease(name), remaining })),
        row: JSON.stringify(historyWhy(change))
      }
    case "Operation": {
      const why = JSON.stringify(change.why)
      const { to } = change
      const input = to._tag === "Override"
        ? { ...to, kind: overrideWord[to.kind] }
        : to._tag === "Import"
        ? { ...to, snapshot: encodeSnapshot(to.snapshot) }
        : to
      return { ...change, why, row: why, to: input }
    }
  }
}

export const encodeProbe = (probe: Probe): object => {
  const { lease, ...rest } = probe
  const input = { ...rest, name: encodeLease(lease), instance: lease.instance, sequence: lease.sequence }
  if (probe._tag === "Ask" || probe.outcome._tag === "Ignored") return input
  return { ...input, outcome: { ...probe.outcome, why: JSON.stringify(probe.outcome.why) } }
}

const encodeSnapshot = ({ override, state, why, ...snapshot }: Snapshot): object => ({
  ...snapshot,
  state: { ...state, name: stateWord[state._tag] },
  override: override === undefined ? undefined : { ...override, kind: overrideWord[override.kind] },
  why: why === undefined ? undefined : JSON.stringify(why)
})

const encodeLease = ({ instance, sequence }: LeaseName): string => `${sequence}:${instance}`
