/**
 * The log lines of a breaker's changes: each change of state, each override, and whether calls are shed.
 *
 * Each change of state is logged at `Warn`, so that whoever sees a circuit open also sees it close.
 *
 * **Invariants**
 *
 * - No more than `MOST_LINES` are logged in a period, because a keyed breaker whose dependency is down opens a circuit for each key.
 *   The line after them says so.
 * - A trip that is only measured is logged at most once in `MEASURED_MILLIS` for each circuit.
 */
import type { Override, State } from "../core/State.ts"
import type { LocalMillis } from "../core/Time.ts"
import type { RuleWindow, Totals } from "../core/TripRule.ts"
import type { Log } from "./Log.ts"
import { type FieldsOf, type Message, messages } from "./Messages.ts"

const MOST_LINES = 100
const PERIOD_MILLIS = 10_000

/** The least time between two lines about a circuit that is only measured: it trips again as soon as its window is full again. */
const MEASURED_MILLIS = 60_000

/** The fields of a circuit that its lines are made of. */
interface Source {
  readonly name: string
  readonly current: State
  readonly streak: number
  readonly totalsAt: (now: LocalMillis) => ReadonlyArray<{ readonly of: RuleWindow } & Totals>
}

export class TransitionLog {
  readonly #breaker: string
  readonly #instance: string
  readonly #log: Log
  #periodSince: LocalMillis = -Infinity
  #lines = 0
  /** Until when a trip of a circuit that is only measured is not logged again. */
  readonly #measuredUntil = new WeakMap<Source, LocalMillis>()

  constructor(breaker: string, instance: string, log: Log) {
    this.#breaker = breaker
    this.#instance = instance
    this.#log = log
  }

  /**
   * Takes down a change of state before it is made, because the counts that caused it are forgotten then. The function that it
   * returns logs the change. `evidence` is that of a change that the fleet made; for one of the instance's own it is read here.
   */
  changing(circuit: Source, next: State, evidence: unknown, now: LocalMillis): () => void {
    const { current: from, name } = circuit
    const fields = {
      circuit: name,
      from: from._tag,
      reason: next.reason ?? "",
      instance: this.#instance,
      evidence: evidence ?? evidenceOf(circuit, now)
    }
    if (next._tag === "Open") {
      const openForMillis = Math.max(0, Math.round(next.until - now))
      return () => this.#write(messages.opened, { ...fields, openedBy: next.openedBy, openForMillis }, now)
    }
    if (next._tag === "HalfOpen") return () => this.#write(messages.halfOpened, fields, now)
    if (from._tag !== "Closed") return () => this.#write(messages.closed, fields, now)
    if (now < (this.#measuredUntil.get(circuit) ?? -Infinity)) return () => {}
    this.#measuredUntil.set(circuit, now + MEASURED_MILLIS)
    return () => this.#write(messages.wouldHaveOpened, fields, now)
  }

  /** Calls are shed from now on, or no more where the share is 0. */
  shedding(circuit: string, share: number, now: LocalMillis): void {
    const fields = { circuit, instance: this.#instance }
    if (share > 0) this.#write(messages.sheds, { ...fields, share }, now)
    else this.#write(messages.shedsNoMore, fields, now)
  }

  override(
    circuit: string,
    change: "set" | "cleared" | "expired",
    { actor, mode, reason }: Override,
    now: LocalMillis
  ): void {
    const fields = { circuit, mode, reason, actor, instance: this.#instance }
    if (change === "set") this.#write(messages.overrideSet, fields, now)
    else this.#write(messages.overrideEnded, { ...fields, change }, now)
  }

  #write<Line extends Message>(line: Line, fields: FieldsOf<Line>, now: LocalMillis): void {
    if (now - this.#periodSince >= PERIOD_MILLIS) {
      this.#periodSince = now
      this.#lines = 0
    }
    this.#lines++
    if (this.#lines <= MOST_LINES) this.#log(line, fields)
    else if (this.#lines === MOST_LINES + 1) {
      this.#log(messages.changesOmitted, { breaker: this.#breaker, lines: MOST_LINES, periodMillis: PERIOD_MILLIS })
    }
  }
}

/** The evidence of an instance's own change, in the form that records have. A circuit that is not closed counts none. */
const evidenceOf = (circuit: Source, now: LocalMillis): unknown => {
  if (circuit.current._tag !== "Closed") return { by: "instance" }
  const totals = circuit.totalsAt(now).map(({ failure, slow, success }) => ({ success, failure, slow }))
  return { by: "instance", streak: circuit.streak, totals }
}
