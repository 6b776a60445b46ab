/** The words of a scenario's trace: requests, answers, records and states, each on one line. */
import { Duration, type Exit, Result } from "effect"
import { type Delta, isEmpty, type LifetimeCounts } from "../../src/core/Delta.ts"
import { type CircuitRecord, type Snapshot, snapshot as snapshotOf, type SnapshotState } from "../../src/core/Record.ts"
import type { Breaker } from "../../src/index.ts"
import type { ChainEvent } from "../../src/Storage/Fallback.ts"
import type { Bells, Changed, Probed, SnapshotAlert, StorageError, Synced } from "../../src/Storage/Storage.ts"
import type { Exchange } from "../../src/testing/internal/Link.ts"
import type { Input } from "../../src/testing/internal/Server.ts"

const decimals = (value: number): string => String(Math.round(value * 100) / 100)

/** Rounds to 10 ms, because the few milliseconds that a request takes would clutter every duration. */
export const inWords = (millis: number): string => {
  const rounded = Math.round(millis / 10) * 10
  if (rounded < 1000) return `${rounded} ms`
  if (rounded < 120_000) return `${decimals(rounded / 1000)} s`
  return rounded < 7_200_000 ? `${decimals(rounded / 60_000)} min` : `${decimals(rounded / 3_600_000)} h`
}

const joined = (...parts: ReadonlyArray<string | false | undefined>): string => parts.filter(Boolean).join(", ")

const counts = ({ failure, ignored, rejected, success }: LifetimeCounts): string =>
  joined(
    success > 0 && `${success} succeeded`,
    failure > 0 && `${failure} failed`,
    ignored > 0 && `${ignored} ignored`,
    rejected > 0 && `${rejected} rejected`
  )

const alertInWords = ({ remaining, since }: SnapshotAlert): string =>
  `alert called ${inWords(since)} ago, ${inWords(remaining)} left`

export class Words {
  /** Numbers of generations in the order in which they appear, because real generations have sixteen digits. */
  readonly #generations = new Map<number, string>([[0, "0"]])

  generation(generation: number): string {
    const known = this.#generations.get(generation) ?? `g${this.#generations.size}`
    this.#generations.set(generation, known)
    return known
  }

  request({ inputs, kind }: Exchange, nameOf: (instance: string) => string): string {
    if (kind === "bells") return kind
    const input = [...inputs.values()][0]!
    return `${kind} ${this.#input(input, nameOf)}`
  }

  #input(input: Input, nameOf: (instance: string) => string): string {
    switch (input._tag) {
      case "Report":
        return `report ${input.sequence} of ${this.generation(input.generation)}: ${
          joined(
            counts(input.delta.lifetime),
            hasNoEvidence(input.delta) && !isEmpty(input.delta) && "no evidence",
            input.suspect !== undefined && `suspects for ${inWords(input.suspect)}`
          )
        }`
      case "Trip":
        return `Trip of ${this.generation(input.generation)}: ${
          joined(input.why.reason, input.opening && `open for ${inWords(input.opening.openFor)}`)
        }`
      case "PutBack":
        return `PutBack ${this.snapshot(input.snapshot)}, confirmed ${inWords(input.age)} ago`
      case "Operation": {
        const { to } = input
        return to._tag === "Override" ? `Override ${overrideInWords(to, to.remaining)}` : to._tag
      }
      case "Ask":
        return `Ask for lease ${input.lease.sequence} of ${inWords(input.duration)}, knows ${
          this.generation(input.generation)
        }`
      case "Settle":
        return `Settle lease ${input.lease.sequence} of ${nameOf(input.lease.instance)}, of ${
          this.generation(input.generation)
        }: ${
          input.outcome._tag === "Success"
            ? `Success, ${input.outcome.successes} ${input.outcome.successes === 1 ? "closes" : "close"}`
            : input.outcome._tag
        }`
    }
  }

  /** The answer to a request. `exit` is `undefined` when the sender no longer waits for it. */
  answer({ inputs, kind, sentAt }: Exchange, exit: Exit.Exit<unknown, unknown> | undefined, now: number): string {
    if (exit === undefined) return `${kind}: ${givenUp(now - sentAt)}`
    if (exit._tag === "Failure") return `${kind}: ${failureInWords(errorOf(exit))}`
    switch (kind) {
      case "sync": {
        const [synced] = exit.value as ReadonlyArray<Synced>
        return Result.match(synced!.result, {
          onFailure: (error) => `sync: ${failureInWords(error)}`,
          onSuccess: ({ reported, snapshot }) => `sync: ${reported}, ${this.snapshot(snapshot)}`
        })
      }
      case "change": {
        const { committed, snapshot } = exit.value as Changed
        return `change: ${committed ? "committed" : "refused"}, ${this.snapshot(snapshot)}`
      }
      case "probe": {
        const { granted, snapshot } = exit.value as Probed
        const isAsk = [...inputs.values()][0]!._tag === "Ask"
        const verdict = isAsk ? (granted ? "granted" : "denied") : granted ? "settled" : "not settled"
        return `probe: ${verdict}, ${this.snapshot(snapshot)}`
      }
      case "bells": {
        const { rung } = exit.value as Bells
        const told = rung === "all" ? ["all"] : rung.map(({ alert, generation }) => this.#rung(generation, alert))
        return `bells: ${told.length === 0 ? "nothing" : joined(...told)}`
      }
    }
  }

  /** The one line of a request without counts and its answer. */
  read({ sentAt }: Exchange, exit: Exit.Exit<unknown, unknown> | undefined, now: number): string {
    if (exit === undefined) return `read: ${givenUp(now - sentAt)}`
    if (exit._tag === "Failure") return `read: ${failureInWords(errorOf(exit))}`
    const [synced] = exit.value as ReadonlyArray<Synced>
    return Result.match(synced!.result, {
      onFailure: (error) => `read: ${failureInWords(error)}`,
      onSuccess: ({ snapshot }) => `read: ${this.snapshot(snapshot)}`
    })
  }

  #rung(generation: number, alert: SnapshotAlert | undefined): string {
    return `${this.generation(generation)}${alert === undefined ? "" : `, ${alertInWords(alert)}`}`
  }

  snapshot(snapshot: Snapshot): string {
    const { alert, generation, override, state, streak, totals } = snapshot
    return joined(
      `${state._tag} at ${this.generation(generation)}${stateInWords(state)}`,
      state._tag === "Closed" && streak > 0 && `streak ${streak}`,
      ...totals.map(({ failure, success }) =>
        state._tag === "Closed" && failure + success > 0 && `${failure} of ${failure + success} failed`
      ),
      override && overrideInWords(override, override.remaining),
      alert && alertInWords(alert)
    )
  }

  /** What a push tells that comes without a snapshot. */
  pushed({ alert, generation }: { readonly alert?: SnapshotAlert | undefined; readonly generation: number }): string {
    return this.#rung(generation, alert)
  }

  record(record: CircuitRecord | undefined, now: number): string {
    if (record === undefined) return "no record"
    const lifetime = counts(record.lifetime)
    const opened = record.lifetime.opened > 0 &&
      `opened ${record.lifetime.opened} times`.replace(/^(opened 1 time)s/, "$1")
    return `${this.snapshot(snapshotOf(record, [], now, Infinity))}; lifetime ${joined(lifetime, opened) || "empty"}`
  }

  state({ fleet, isolated, openedBy, override, retryAfter, state }: Breaker.Snapshot): string {
    const known = fleet === undefined
      ? "fleet unknown"
      : `fleet ${fleet.state} at ${this.generation(fleet.generation)}${fleet.reachable ? "" : " (unreachable)"}`
    return joined(
      openedBy === undefined ? state : `${state} by ${openedBy}`,
      isolated && "isolated",
      retryAfter && retryInWords(retryAfter),
      override &&
        overrideInWords(
          { ...override, kind: override.mode },
          override.expiresIn && Duration.toMillis(override.expiresIn)
        ),
      known
    )
  }
}

/** Whether all outcomes are late or a probe's. Those count only for the lifetime statistics. */
const hasNoEvidence = ({ buckets, lifetime: { failure, success }, streak }: Delta): boolean =>
  success + failure > 0 && buckets.length === 0 && !streak.sawSuccess && streak.trailing === 0

const givenUp = (millis: number): string => millis < 5 ? "given up at once" : `no answer within ${inWords(millis)}`

const errorOf = (exit: Exit.Failure<unknown, unknown>): unknown =>
  exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error

const failureInWords = (error: unknown): string => `failed, ${(error as StorageError).reason}`

const retryInWords = (retryAfter: Duration.Duration): string => {
  const millis = Duration.toMillis(retryAfter)
  return millis === 0 ? "retry now" : `retry after ${inWords(millis)}`
}

const overrideInWords = (
  { actor, kind, reason }: { readonly actor: string; readonly kind: string; readonly reason: string },
  remaining: number | undefined
): string => `${kind} by ${actor}${remaining === undefined ? "" : ` for ${inWords(remaining)}`} (${reason})`

const stateInWords = (state: SnapshotState): string => {
  switch (state._tag) {
    case "Closed":
      return ""
    case "Open":
      return state.remaining > 0 ? ` for ${inWords(state.remaining)}` : ", its time is up"
    case "HalfOpen": {
      const lapse = state.nextLapse === undefined ? "" : `, the next lapses in ${inWords(state.nextLapse)}`
      return `, ${state.live} live${lapse}${state.successes > 0 ? `, ${state.successes} succeeded` : ""}`
    }
  }
}

export const eventInWords = (event: Breaker.Event, now: Breaker.Snapshot): string | undefined => {
  switch (event._tag) {
    case "Transition": {
      const by = now.openedBy === undefined ? "" : ` by ${now.openedBy}`
      return `${event.from} > ${event.to}${by}: ${event.reason}`
    }
    case "Override":
      return `override ${event.change}: ${event.mode} by ${event.actor} (${event.reason})`
    default:
      return undefined
  }
}

/** The end of a call that did not run its body. */
export const rejectionInWords = (error: unknown): string => {
  if (typeof error !== "object" || error === null || !("_tag" in error)) return `call not run: ${String(error)}`
  if (error._tag !== "BreakerOpenError") return `call not run: ${String(error._tag)}`
  const { openedBy, retryAfter, state } = error as Breaker.BreakerOpenError
  const later = retryAfter === undefined ? "" : `, ${retryInWords(retryAfter)}`
  return `call rejected: ${state} by ${openedBy}${later}`
}

export const chainInWords = (event: ChainEvent): string => {
  switch (event._tag) {
    case "Fallback":
      return `${event.operation} falls back from ${event.from} to ${event.to}`
    case "Down":
      return `${event.backend} is skipped from now on`
    case "Up":
      return `${event.backend} is back in use`
    case "Reconciled":
      return `reconciled ${event.circuits} circuit${event.circuits === 1 ? "" : "s"} with ${event.to}: ${
        joined(`${event.forward} forward`, `${event.back} back`, `${event.failed} failed`)
      }`
  }
}
