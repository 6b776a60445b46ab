/** The documents of `--json`, as data. */
import type { Circuit as Read } from "../../Operator.ts"
import type { HistoryEntry, Snapshot } from "../../Storage/Storage.ts"
import type { Output } from "../Output.ts"
import { isoOf } from "./Text.ts"

const STATES = { Closed: "closed", Open: "open", HalfOpen: "half_open" } as const

const MODES = { ForcedOpen: "forced_open", Disabled: "disabled", MetricsOnly: "metrics_only" } as const

const modeOf = (kind: string | undefined): string | null =>
  kind === undefined ? null : MODES[kind as keyof typeof MODES] ?? kind

const remainingOf = ({ state }: Snapshot): number | null =>
  state._tag === "Open" ? state.remaining : state._tag === "HalfOpen" ? state.nextLapse ?? null : null

const agoOf = (now: number, age: number | undefined): string | null => age === undefined ? null : isoOf(now - age)

/** `now` is the time of reading, by this machine's clock. */
export const circuitOf = ({ circuit, snapshot }: Read, now: number): Output.Circuit => {
  const { elapsed, fingerprint, generation, hint, lifetime, openFor, openings, override, state, streak, why } = snapshot
  return {
    circuit,
    state: STATES[state._tag],
    override: override === undefined ? null : {
      mode: MODES[override.kind],
      reason: override.reason,
      actor: override.actor,
      remaining: override.remaining ?? null
    },
    generation,
    remaining: remainingOf(snapshot),
    elapsed: elapsed ?? null,
    why: why?.reason ?? null,
    actor: why?.actor ?? null,
    evidence: why?.evidence ?? null,
    openings,
    open_for: openFor,
    retry_after: hint,
    probes: state._tag === "HalfOpen"
      ? { running: state.live, successes: state.successes, failures: state.failures ?? 0 }
      : null,
    consecutive_failures: streak,
    fingerprint: fingerprint ?? null,
    lifetime: {
      success: lifetime.success,
      failure: lifetime.failure,
      ignored: lifetime.ignored,
      timeout: lifetime.timeout,
      slow: lifetime.slow,
      rejected: lifetime.rejected,
      times_opened: lifetime.opened
    },
    last_success_at: agoOf(now, lifetime.lastSuccessAge),
    last_failure_at: agoOf(now, lifetime.lastFailureAge),
    last_opened_at: agoOf(now, lifetime.lastOpenedAge)
  }
}

export const changeOf = (circuit: string, entry: HistoryEntry): Output.Change => ({
  circuit,
  generation: entry.generation,
  at: isoOf(entry.at),
  from: STATES[entry.from],
  to: STATES[entry.to],
  override: modeOf(entry.override),
  reason: entry.why.reason,
  actor: entry.why.actor ?? null,
  evidence: entry.why.evidence ?? null
})
