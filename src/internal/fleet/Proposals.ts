/**
 * The trips that one instance proposes to its fleet.
 *
 * The fleet opens on pooled evidence that trips the rule in two snapshots at least an interval apart, and in each between
 * (under `strict`, in one). Where instances may be silent it does so only in an alert, once all had time to answer it. One sick
 * node must not open it for all: batches of reports are concatenated, not interleaved, so a single snapshot may show its failures
 * without the others' successes. Under `evidence: any`, whichever instance trips opens it.
 *
 * **Invariants**
 *
 * - `#tripsSince` is the first snapshot of this generation and policy from which on the evidence trips without a gap.
 * - Nothing is proposed while another change of the circuit is in flight. The storage arbitrates by the generation.
 */
import type { Opening, Why } from "../../core/Record.ts"
import { isWritable } from "../../core/Record.ts"
import { couldShed } from "../../core/Throttle.ts"
import type { LocalMillis, StorageMillis } from "../../core/Time.ts"
import { type Evidence, type Totals, trips } from "../../core/TripRule.ts"
import type { Change, Changed, Snapshot } from "../../Storage/Storage.ts"
import { REQUEST_DEADLINE_MILLIS } from "../Bounds.ts"
import type { Local } from "./Fleet.ts"
import type { Membership } from "./Membership.ts"
import { answerMillisOf, couldMatter } from "./Vigil.ts"

/** The membership that proposes. It is the fleet's evidence, too. */
interface Proposer extends Evidence {
  readonly local: Local
  readonly membership: Membership
  readonly snapshot: Snapshot
  readonly storageTime: (at: LocalMillis) => StorageMillis | undefined
  readonly isChanging: boolean
  /** How long it is between two reports now. */
  readonly pacedMillis: number
  /** Whether alerts have opened nothing for a while. */
  readonly isInVain: boolean
  readonly change: (change: Change, answered: (changed: Changed, requestedAt: LocalMillis) => void) => void
  readonly accept: (snapshot: Snapshot, knewGeneration: number, requestedAt: LocalMillis) => void
  readonly addToRound: () => void
}

export class Proposals {
  readonly #proposer: Proposer
  /** Whether the rule could trip on the last snapshot, or calls be shed. */
  suspects = false
  /** The fleet's requests, by which calls are shed, and when they were read: as of the last snapshot that had all of them. */
  requests: { readonly totals: Totals; readonly at: LocalMillis } | undefined = undefined
  /** Whether calls would be shed by a snapshot that may lack what others have not said. */
  #lacksRequests = false
  #tripsSince: { readonly asOf: StorageMillis; readonly requestedAt: LocalMillis } | undefined = undefined

  constructor(proposer: Proposer) {
    this.#proposer = proposer
  }

  /** Whether the pooled evidence trips, or sheds calls, and another snapshot has to confirm it. */
  get isSuspecting(): boolean {
    return this.#tripsSince !== undefined || this.#lacksRequests
  }

  /** When a snapshot could be the last that is needed; `undefined` where nothing is suspected, and no alert runs. */
  lastsAt(answeredAt: LocalMillis, requestedAt: LocalMillis): LocalMillis | undefined {
    const { pacedMillis: intervalMillis, snapshot: { alert } } = this.#proposer
    if (this.#tripsSince === undefined || alert === undefined) return undefined
    const answeredIn = answerMillisOf(intervalMillis, answeredAt - requestedAt) - alert.since
    return Math.max(this.#tripsSince.requestedAt + intervalMillis, answeredAt + answeredIn) + 1
  }

  forget(): void {
    this.#tripsSince = this.requests = undefined
    this.suspects = this.#lacksRequests = false
  }

  /** Judges a snapshot of the pooled evidence that was requested at this time and answered now. */
  judge(requestedAt: LocalMillis): void {
    const { local, membership: { alerts, connection, isPooled, plan, policy }, snapshot } = this.#proposer
    const mode = snapshot.override?.kind
    const isJudged = isPooled && policy.takesPart && snapshot.state._tag === "Closed" && mode !== "ForcedOpen" &&
      mode !== "Disabled"
    const { alert, asOf, streak, totals } = snapshot
    const { pacedMillis: intervalMillis } = this.#proposer
    const answerMillis = answerMillisOf(intervalMillis, connection.now() - requestedAt)
    this.suspects = isJudged && alerts && couldMatter(plan, this.#proposer, this.#proposer.isInVain)
    const isAnswered = !alerts || (alert !== undefined && alert.since >= answerMillis)
    this.#readRequests(isJudged, isAnswered)
    const reason = isJudged ? trips(plan.rule, this.#proposer) : undefined
    if (reason === undefined) {
      this.#tripsSince = undefined
      return
    }
    this.#tripsSince ??= { asOf, requestedAt }
    const lasts = isAnswered && asOf - this.#tripsSince.asOf >= intervalMillis &&
      requestedAt - this.#tripsSince.requestedAt >= intervalMillis
    if (!lasts && policy.maxAgeMillis > 0) {
      this.#proposer.addToRound()
      return
    }
    if (mode === undefined && local.isHeldBack(reason, connection.now())) return
    this.#propose(
      {
        reason: mode === undefined ? reason : `${reason} (metrics only)`,
        evidence: { by: "fleet", streak, totals }
      },
      asOf,
      mode === undefined ? local.nextOpenForMillis(connection.now()) : undefined
    )
  }

  /** Unreported calls of others may be successes, so only a snapshot that has all reports says that calls are to be shed. */
  #readRequests(isJudged: boolean, isAnswered: boolean): void {
    const { membership: { connection, plan: { throttle } } } = this.#proposer
    const sheds = isJudged && throttle !== undefined && couldShed(throttle, this.#proposer, 1)
    this.#lacksRequests = sheds && !isAnswered
    if (!sheds) this.requests = undefined
    else if (isAnswered) this.requests = { totals: this.#proposer.totals(throttle.window), at: connection.now() }
  }

  /** Proposes this instance's own trip under `evidence: any`. Without `openForMillis` it is a trip in metrics-only mode. */
  proposeOwn(reason: string, openForMillis: number | undefined, now: LocalMillis): void {
    const { instance } = this.#proposer.membership
    // A request that is held up must be seen to be old.
    const asOf = this.#proposer.storageTime(now) ?? this.#proposer.snapshot.asOf
    this.#propose({ reason, evidence: { by: "instance", instance } }, asOf, openForMillis)
  }

  #propose(why: Why, asOf: StorageMillis, openForMillis: number | undefined): void {
    const { isChanging, membership: { drift: { fingerprint }, plan, rounds }, snapshot } = this.#proposer
    if (isChanging || !isWritable(snapshot)) return
    const opening: Opening | undefined = openForMillis === undefined
      ? undefined
      : { openFor: openForMillis, maxOpenFor: plan.maxOpenForMillis }
    const { generation } = snapshot
    // However short the interval, the answer and this request may take up to their deadlines.
    const maxAge = 2 * Math.max(rounds.intervalMillis, REQUEST_DEADLINE_MILLIS)
    this.#proposer.change(
      { _tag: "Trip", generation, asOf, maxAge, opening, why, fingerprint },
      (changed, requestedAt) => this.#proposer.accept(changed.snapshot, generation, requestedAt)
    )
  }
}
