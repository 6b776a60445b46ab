/**
 * The state of one circuit in one instance, and the transitions between states.
 *
 * A state is data. A transition is a function of the state and `now` that returns the next state, or the very one it was given
 * where nothing changes. Nothing here reads a clock or runs a timer: an open time that is over moves on when a call
 * comes.
 *
 * ```text
 *            trips                 open time is over, a call comes
 *   Closed ─────────▶ Open ─────────────────────────────────▶ HalfOpen
 *     ▲                ▲        a probe fails                    │ │
 *     │                └─────────────────────────────────────────┘ │
 *     └────────────────────────────────────────────────────────────┘ enough probes succeed
 * ```
 *
 * **Invariants**
 *
 * - A transition that makes the outcomes of running calls late begins a new `epoch`; setting and lifting an override do, too.
 *   Epochs only grow (gobreaker's generations).
 * - Within an epoch only details change: a probe is taken or ends, a ramp admits, a hint is noted, the fleet's view is refreshed.
 * - `adopted` says that the fleet is in this state, too. The circuit's own transitions begin as not adopted.
 */
import type { Permit, Settlement } from "./Permit.ts"
import type { Plan } from "./Plan.ts"
import type { LocalMillis } from "./Time.ts"

export type OverrideMode = "ForcedOpen" | "Disabled" | "MetricsOnly"
/** On whose evidence a circuit opened. */
export type OpenedBy = "instance" | "fleet"

/** The operator's will on top of the state. `until` is `Infinity` where it does not expire. */
export interface Override {
  readonly mode: OverrideMode
  readonly reason: string
  readonly actor: string
  readonly until: LocalMillis
}

/** The fields of every state: how the circuit came into it. */
interface History {
  readonly epoch: number
  /** When the state began, `-Infinity` for a circuit that never changed. */
  readonly since: LocalMillis
  readonly reason: string | undefined
  readonly openedBy: OpenedBy
  readonly adopted: boolean
  /** Consecutive openings. Read them through `openingsAt`, which forgets in time. */
  readonly openings: number
  /** How long the last opening was to last. */
  readonly openForMillis: number
  readonly timesOpened: number
  /** When the longest `Retry-After` of this epoch ends, 0 for none. */
  readonly hintUntil: LocalMillis
  readonly override: Override | undefined
}

export interface Closed extends History {
  readonly _tag: "Closed"
  /** Until this time calls are admitted by share. */
  readonly rampUntil: LocalMillis
  /** The shares of refused calls, which add up towards the next admission. */
  readonly credit: number
  /** From this time on the consecutive openings are forgotten. */
  readonly calmAt: LocalMillis
}

export interface Open extends History {
  readonly _tag: "Open"
  readonly until: LocalMillis
}

export interface HalfOpen extends History {
  readonly _tag: "HalfOpen"
  /**
   * The probes of this instance's own that held a place when the last one was admitted, in the order in which they began.
   * Those under a lease are the fleet's. A probe whose time is over holds no place, and its outcome counts all the same.
   */
  readonly probes: ReadonlyArray<Permit>
  readonly successes: number
  /** Failed probes of this round, which are fewer than would reopen. */
  readonly failures: number
  /** When the fleet has a free probe, as far as is known. */
  readonly freeAt: LocalMillis
  /** No probe starts before: the `Retry-After` of one that was ignored, or that failed and did not reopen. 0 for none. */
  readonly probesFrom: LocalMillis
}

export type State = Closed | Open | HalfOpen

/** The part of a state that an instance takes over from its fleet, times by the local clock. */
export type FleetState =
  | { readonly _tag: "Closed" }
  | { readonly _tag: "Open"; readonly until: LocalMillis }
  | Pick<HalfOpen, "_tag" | "successes" | "failures" | "freeAt" | "probesFrom">

/** A newer state of the fleet, as an instance adopts it. */
export interface FleetView
  extends Pick<History, "since" | "reason" | "openedBy" | "openings" | "openForMillis" | "override">
{
  readonly state: FleetState
  /** The evidence of its last change, as plain JSON. */
  readonly evidence?: unknown
  /** Who changed it, where that was this instance's operator. */
  readonly operator?: string | undefined
}

/** The state of every circuit that never changed: one object for all, because a keyed breaker may hold 100,000 of them. */
export const initial: Closed = {
  _tag: "Closed",
  epoch: 1,
  since: -Infinity,
  reason: undefined,
  openedBy: "instance",
  adopted: false,
  openings: 0,
  openForMillis: 0,
  timesOpened: 0,
  hintUntil: 0,
  override: undefined,
  rampUntil: -Infinity,
  credit: 0,
  calmAt: -Infinity
}

// -----------------------------------------------------------------------------
// transitions that begin an epoch
// -----------------------------------------------------------------------------

/** The circuit trips, or a probe failed. A hint lengthens the open time, and so does each further opening in a row. */
export const opened = (plan: Plan, state: State, reason: string, now: LocalMillis): Open => {
  const openings = openingsAt(state, now) + 1
  const hintUntil = state._tag === "HalfOpen" ? Math.max(state.hintUntil, state.probesFrom) : state.hintUntil
  const until = Math.max(now + plan.openForMillis(openings), hintUntil)
  const history = successor(state, reason, now)
  return {
    ...history,
    _tag: "Open",
    openedBy: "instance",
    openings,
    openForMillis: until - now,
    timesOpened: history.timesOpened + 1,
    until
  }
}

/** A trip that is reported, with a new window, and not made: under metrics-only, or because too many keys are open. */
export const wouldHaveOpened = (state: Closed, reason: string): Closed => ({
  ...state,
  epoch: state.epoch + 1,
  reason,
  hintUntil: 0
})

/** The circuit takes probes from now on. */
export const halfOpened = (state: State, reason: string, now: LocalMillis): HalfOpen => ({
  ...successor(state, reason, now),
  _tag: "HalfOpen",
  probes: [],
  successes: 0,
  failures: 0,
  freeAt: now,
  probesFrom: 0
})

/** Closes with nothing remembered but how often it opened; an override stays. */
export const resetAt = ({ epoch, override, timesOpened }: State, now: LocalMillis): Closed => ({
  ...initial,
  epoch: epoch + 1,
  since: now,
  reason: "reset",
  override,
  timesOpened
})

/** An operator's override, or `undefined` to lift it. The state beneath stays, its time running. */
export const overridden = (state: State, override: Override | undefined): State => {
  const common = { epoch: state.epoch + 1, override, hintUntil: 0 }
  // Its probes are of an older epoch now, so they could not settle.
  return state._tag === "HalfOpen" ? { ...state, ...common, probes: [] } : { ...state, ...common }
}

/** The fleet's newer state in place of the instance's own. */
export const adopted = (
  plan: Plan,
  from: State,
  { openForMillis, openedBy, openings, override, reason, since, state }: FleetView,
  now: LocalMillis
): State => {
  const hasOpened = state._tag === "Open" && from._tag !== "Open"
  const history: History = {
    epoch: from.epoch + 1,
    since,
    reason,
    openedBy,
    adopted: true,
    openings,
    openForMillis,
    timesOpened: from.timesOpened + (hasOpened ? 1 : 0),
    hintUntil: 0,
    override
  }
  switch (state._tag) {
    case "Closed": {
      return {
        ...history,
        _tag: "Closed",
        rampUntil: fleetRampEnd(plan, from, history, now),
        credit: 0,
        calmAt: openings === 0 ? -Infinity : since + openForMillis
      }
    }
    case "Open":
      return { ...history, ...state }
    case "HalfOpen":
      return { ...history, ...state, probes: [] }
  }
}

/**
 * A probe ended. The last failure that is needed reopens and the last success that is needed closes, each in a new epoch. Any other
 * outcome gives the place back and is counted, and its hint holds the next probes back. `permit` is absent for a probe under a lease
 * that the storage never acknowledged.
 */
export const probeEnded = (
  plan: Plan,
  state: HalfOpen,
  permit: Permit | undefined,
  outcome: Settlement["outcome"],
  hintMillis: number,
  now: LocalMillis
): State => {
  const failures = state.failures + (outcome === "Failure" ? 1 : 0)
  if (outcome === "Failure" && failures >= plan.failures) {
    return opened(plan, hinted(plan, state, hintMillis, now), reopenedBecause(plan, failures), now)
  }
  const probes = state.probes.filter((probe) => probe !== permit)
  const successes = state.successes + (outcome === "Success" ? 1 : 0)
  if (outcome !== "Success" || successes < plan.successes) {
    const hintUntil = outcome !== "Success" && hintMillis > 0 ? now + Math.min(hintMillis, plan.maxOpenForMillis) : 0
    return { ...state, probes, successes, failures, probesFrom: Math.max(state.probesFrom, hintUntil) }
  }
  return {
    ...successor(state, closedBecause(plan, successes), now),
    _tag: "Closed",
    rampUntil: rampEnd(plan, now),
    credit: 0,
    calmAt: now + state.openForMillis
  }
}

type Round = Pick<Plan, "successes" | "failures">

/** How many probes decide a round at most: then so many have succeeded that no more can fail, or the other way round. */
const sizeOf = ({ failures, successes }: Round): number => successes + failures - 1

/** The reason of a close, where so many probes have succeeded. */
export const closedBecause = (round: Round, successes: number): string =>
  `${successes} of ${sizeOf(round)} probes succeeded`

/** The reason of an opening, where so many probes have failed. */
export const reopenedBecause = (round: Round, failures: number): string =>
  round.failures === 1 ? "a probe failed" : `${failures} of ${sizeOf(round)} probes failed`

/** The history of a state that the circuit comes to by itself. */
const successor = (state: State, reason: string, now: LocalMillis): History => {
  const { epoch, openForMillis, openedBy, override, timesOpened } = state
  const openings = openingsAt(state, now)
  return {
    epoch: epoch + 1,
    since: now,
    reason,
    openedBy,
    adopted: false,
    openings,
    openForMillis,
    timesOpened,
    hintUntil: 0,
    override
  }
}

/**
 * The fleet's ramp began when its circuit closed, so that all instances admit the same share, whenever they hear of it. One that was
 * letting calls through goes on as it did. One that knew nothing yet has just started, and joins the ramp of a circuit that has opened.
 */
const fleetRampEnd = (
  plan: Plan,
  from: State,
  { openForMillis, since }: Pick<History, "openForMillis" | "since">,
  now: LocalMillis
): LocalMillis => {
  const joins = from._tag !== "Closed" || (from.since === -Infinity && openForMillis > 0)
  const rampUntil = joins ? rampEnd(plan, since) : from.rampUntil
  return rampUntil > now ? rampUntil : -Infinity
}

const rampEnd = ({ rampMillis }: Plan, now: LocalMillis): LocalMillis => rampMillis > 0 ? now + rampMillis : -Infinity

// -----------------------------------------------------------------------------
// details that change within an epoch
// -----------------------------------------------------------------------------

/** A failure had a `Retry-After`: the longest hint of an epoch counts. */
export const hinted = <S extends State>(plan: Plan, state: S, hintMillis: number, now: LocalMillis): S => {
  const hintUntil = now + Math.min(hintMillis, plan.maxOpenForMillis)
  return hintMillis > 0 && hintUntil > state.hintUntil ? { ...state, hintUntil } : state
}

/** A probe of the instance's own was admitted. */
export const probeTaken = (state: HalfOpen, permit: Permit): HalfOpen => ({
  ...state,
  adopted: false,
  probes: [...placesTaken(state, permit.startedAt), permit]
})

/** The least share that a ramp starts with: of no calls at all, nothing would be learnt. */
const LEAST_SHARE = 0.1

/** The share of the calls that a ramp admits now. */
export const rampShare = (plan: Plan, { rampUntil }: Closed, now: LocalMillis): number =>
  now >= rampUntil ? 1 : Math.max(LEAST_SHARE, 1 - (rampUntil - now) / plan.rampMillis)

/** One call of a ramp, which admits a growing share of them: the state after it, and whether the call is admitted. */
export const ramped = (
  plan: Plan,
  state: Closed,
  now: LocalMillis
): { readonly state: Closed; readonly admits: boolean } => {
  if (state.rampUntil === -Infinity) return { state, admits: true }
  if (now >= state.rampUntil) return { state: { ...state, rampUntil: -Infinity }, admits: true }
  const credit = state.credit + rampShare(plan, state, now)
  return { state: { ...state, credit: credit < 1 ? credit : credit - 1 }, admits: credit >= 1 }
}

/** The length of ramps has changed. The one that is under way takes the new length, from when it began. */
export const reramped = (state: State, beforeMillis: number, rampMillis: number, now: LocalMillis): State => {
  if (state._tag !== "Closed" || now >= state.rampUntil || rampMillis === beforeMillis) return state
  return { ...state, rampUntil: rampMillis > 0 ? state.rampUntil - beforeMillis + rampMillis : -Infinity }
}

/** Two accounts of one time differ by as much as messages take; below this they are taken as one. */
const SAME_WITHIN_MILLIS = 100

const isClose = (a: LocalMillis, b: LocalMillis): boolean => Math.abs(a - b) < SAME_WITHIN_MILLIS

/**
 * A later snapshot of the same generation: its times may have moved, and its override may have ended, because this process's
 * clock stood still while its machine slept.
 */
export const refreshed = (from: State, fleet: FleetState, overrideUntil: LocalMillis): State => {
  const { override } = from
  const isShorter = override !== undefined && overrideUntil < override.until && !isClose(overrideUntil, override.until)
  const state = isShorter ? { ...from, override: { ...override, until: overrideUntil } } : from
  if (!state.adopted) return state
  if (state._tag === "Open" && fleet._tag === "Open" && !isClose(state.until, fleet.until)) {
    return { ...state, until: fleet.until }
  }
  if (state._tag === "HalfOpen" && fleet._tag === "HalfOpen") {
    const { failures, freeAt, probesFrom, successes } = fleet
    const isSame = successes === state.successes && failures === state.failures &&
      isClose(freeAt, state.freeAt) && isClose(probesFrom, state.probesFrom)
    if (!isSame) return { ...state, failures, freeAt, probesFrom, successes }
  }
  return state
}

// -----------------------------------------------------------------------------
// reading: nothing is changed
// -----------------------------------------------------------------------------

/** Consecutive openings at `now`: forgotten once the circuit stayed closed as long as its last opening was to last. */
export const openingsAt = (state: State, now: LocalMillis): number =>
  state._tag === "Closed" && now >= state.calmAt ? 0 : state.openings

/** The probes of this instance's own that hold a place at `now`. */
export const placesTaken = ({ probes }: HalfOpen, now: LocalMillis): ReadonlyArray<Permit> =>
  probes.filter(({ until }) => now < until)

/** The override in force at `now`. */
export const overrideAt = ({ override }: State, now: LocalMillis): Override | undefined =>
  override !== undefined && now < override.until ? override : undefined

/** Whether the change is published as a transition: to another state, or a trip of the fleet under metrics-only. */
export const isTransition = (from: State, to: State): boolean =>
  from._tag !== to._tag ||
  (to._tag === "Closed" && to.adopted && to.reason !== from.reason && to.override?.mode === "MetricsOnly")

/** Why every call is refused at `now`, probes included: forced open, or an open time that is not over. */
export const refusalOf = (state: State, now: LocalMillis): "ForcedOpen" | "Open" | undefined => {
  const override = overrideAt(state, now)
  if (override !== undefined) return override.mode === "ForcedOpen" ? "ForcedOpen" : undefined
  return state._tag === "Open" && now < state.until ? "Open" : undefined
}

/** When a refused call may come back; `undefined` while an override is in force, and where calls are admitted. */
export const retryAt = (plan: Plan, state: State, now: LocalMillis): LocalMillis | undefined => {
  if (overrideAt(state, now) !== undefined) return undefined
  switch (state._tag) {
    case "Open":
      return state.until
    case "HalfOpen": {
      const from = Math.max(now, state.probesFrom)
      if (state.adopted && state.probes.length === 0) return Math.max(from, state.freeAt)
      // More places may be taken than there are, where the policy gives fewer than before.
      const ends = placesTaken(state, now).map(({ until }) => until).toSorted((a, b) => a - b)
      return ends.length < plan.probes ? from : Math.max(from, ends[ends.length - plan.probes]!)
    }
    case "Closed":
      return now < state.rampUntil ? state.rampUntil : undefined
  }
}

/** Whether nothing that runs out is still running: no open time, no memory of one, no probe, no override. */
export const isOver = (state: State, now: LocalMillis): boolean => {
  if (overrideAt(state, now) !== undefined) return false
  switch (state._tag) {
    case "Closed":
      return now >= state.calmAt
    case "Open":
      return now >= state.until + state.openForMillis
    case "HalfOpen":
      return placesTaken(state, now).length === 0 &&
        now >= Math.max(state.since + state.openForMillis, state.probesFrom)
  }
}
