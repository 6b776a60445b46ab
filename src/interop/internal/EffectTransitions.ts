/**
 * The events of one of our keyed breakers as the transitions of Effect's, which knows four edges and no overrides. So what is shown is
 * the state that calls meet, and the way to it leads over these edges.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Stream from "effect/Stream"
import type { KeyedBreaker } from "../../Breaker.ts"
import type { Event, OverrideMode, Snapshot } from "../../Event.ts"
import { circuitName, prefixOf } from "../../internal/CircuitName.ts"
import { keyFrom } from "./EffectKeys.ts"

type State = Snapshot["state"]
type Change = Extract<Event, { readonly _tag: "Transition" | "Override" }>

/** The state that calls meet under an override. */
const shownAs = (mode: OverrideMode | undefined, state: State): State =>
  mode === undefined ? state : mode === "ForcedOpen" ? "Open" : "Closed"

export const stateOf = (key: string, snapshot: Snapshot): CircuitBreaker.State => {
  switch (shownAs(snapshot.override?.mode, snapshot.state)) {
    case "Closed":
      return { _tag: "Closed", key }
    case "Open":
      return { _tag: "Open", key, ...openingOf(snapshot) }
    case "HalfOpen": {
      const { openings, retryAfter = Duration.zero } = snapshot
      return { _tag: "HalfOpen", key, probing: Duration.isPositive(retryAfter), consecutiveOpenings: openings }
    }
  }
}

const openingOf = ({ openings, override, retryAfter }: Snapshot) => ({
  retryAfter: override?.expiresIn ?? retryAfter ?? Duration.zero,
  consecutiveOpenings: openings
})

/** Which edges lead from one state to another. */
const ways: { readonly [From in State]: { readonly [To in State]: ReadonlyArray<State> } } = {
  Closed: { Closed: [], Open: ["Open"], HalfOpen: ["Open", "HalfOpen"] },
  Open: { Closed: ["HalfOpen", "Closed"], Open: [], HalfOpen: ["HalfOpen"] },
  HalfOpen: { Closed: ["Closed"], Open: ["Open"], HalfOpen: [] }
}

/** The state that was shown before this change, as far as the change itself tells, and the one that is shown after it. */
const shownBy = (event: Change): { readonly before: State; readonly after: State } => {
  const { snapshot } = event
  if (event._tag === "Transition") {
    const mode = snapshot.override?.mode
    return { before: shownAs(mode, event.from), after: shownAs(mode, event.to) }
  }
  const overridden = shownAs(event.mode, snapshot.state)
  return event.change === "set"
    ? { before: snapshot.state, after: overridden }
    : { before: overridden, after: snapshot.state }
}

export const transitionsOf = (breaker: KeyedBreaker<unknown>): Stream.Stream<CircuitBreaker.Transition> =>
  Stream.suspend(() => {
    /** The circuits that are not shown as closed. */
    const shown = new Map<string, State>()
    return breaker.events.pipe(
      Stream.filter((event): event is Change => event._tag === "Transition" || event._tag === "Override"),
      Stream.mapEffect((event) => {
        const change = shownBy(event)
        const before = shown.get(event.circuit) ?? change.before
        if (change.after === "Closed") shown.delete(event.circuit)
        else shown.set(event.circuit, change.after)
        return transitions(breaker, event, before, change.after)
      }),
      Stream.flattenIterable
    )
  })

const transitions = (
  breaker: KeyedBreaker<unknown>,
  event: Change,
  before: State,
  after: State
): Effect.Effect<ReadonlyArray<CircuitBreaker.Transition>> => {
  const way = ways[before][after]
  const key = keyOf(breaker, event.circuit)
  const edges = (opening: ReturnType<typeof openingOf>) =>
    way.map((to, index): CircuitBreaker.Transition => {
      const from = way[index - 1] ?? before
      if (to === "HalfOpen") return { key, from: "Open", to }
      return to === "Closed"
        ? { key, from: "HalfOpen", to }
        : { key, from: from === "HalfOpen" ? "HalfOpen" : "Closed", to, ...opening }
    })
  return way[0] === "Open"
    ? Effect.map(openingAfter(breaker, event), edges)
    : Effect.succeed(edges(openingOf(event.snapshot)))
}

/** The opening that an event is about. The snapshot of a transition is from before it. */
const openingAfter = (breaker: KeyedBreaker<unknown>, { _tag, circuit, snapshot }: Change) => {
  const key = storedKeyOf(breaker, circuit)
  if (_tag === "Override" || key === undefined) return Effect.succeed(openingOf(snapshot))
  return Effect.map(
    breaker.get(key).snapshot,
    (now) =>
      now.state === "Open" ? openingOf(now) : { retryAfter: Duration.zero, consecutiveOpenings: snapshot.openings + 1 }
  )
}

/** The key of a circuit; `undefined` for the one that keys without a circuit of their own share. */
const storedKeyOf = ({ name }: KeyedBreaker<unknown>, circuit: string): string | undefined =>
  circuit.startsWith(prefixOf(name)) ? circuit.slice(prefixOf(name).length) : undefined

const keyOf = (breaker: KeyedBreaker<unknown>, circuit: string): string => {
  const key = storedKeyOf(breaker, circuit)
  return key === undefined ? circuitName("", "") : keyFrom(key)
}
