/**
 * Whether a history of calls through strict breakers could be that of one breaker which all instances share: the search
 * of Wing & Gong ("Testing and verifying concurrent objects", 1993), for an object with a few states.
 *
 * A call is admitted at one moment between its arrival and its start, or rejected at one between its arrival and its
 * return. Its outcome is counted at one moment between its end and its return. The n-th counted failure in a row makes
 * a trip due, which is committed before that call returns, unless a success is counted in between. After the commit no
 * call is admitted, and counting changes nothing.
 */
export interface Operation {
  /** Moments, in one order for all operations. */
  readonly arrives: number
  readonly starts?: number | undefined
  readonly ends?: number | undefined
  readonly returns: number
  readonly result: "succeeded" | "failed" | "rejected"
  /** Whether a request or an answer of its instance was lost after its end: it may return before it counts. */
  readonly isInDoubt: boolean
}

interface State {
  /** The event up to which the history is explained. */
  readonly at: number
  readonly decided: number
  readonly counted: number
  readonly streak: number
  readonly phase: "closed" | "due" | "open"
  /** The operation whose failure made the trip due. */
  readonly by: number
}

interface Event {
  readonly moment: number
  readonly what: "arrives" | "starts" | "ends" | "returns"
  readonly operation: number
}

export const isLinearizable = (history: ReadonlyArray<Operation>, failures: number): boolean => {
  const events = history.flatMap((operation, i): Array<Event> =>
    (["arrives", "starts", "ends", "returns"] as const).flatMap((what) => {
      const moment = operation[what]
      return moment === undefined ? [] : [{ moment, what, operation: i }]
    })
  ).sort((a, b) => a.moment - b.moment)
  const has = (set: number, i: number): boolean => (set & (1 << i)) !== 0
  const hasPassed = (state: State, moment: number | undefined): boolean =>
    moment !== undefined && (state.at === events.length || moment < events[state.at]!.moment)

  /** The states that can follow before the next event, by a moment that the history does not show. */
  const unseen = (state: State): ReadonlyArray<State> =>
    history.flatMap((operation, i): Array<State> => {
      const bit = 1 << i
      const isRefused = operation.result === "rejected"
      if (!has(state.decided, i)) {
        const isDecidable = hasPassed(state, operation.arrives) && isRefused === (state.phase === "open")
        return isDecidable ? [{ ...state, decided: state.decided | bit }] : []
      }
      if (isRefused || has(state.counted, i) || !hasPassed(state, operation.ends)) return []
      const counted = state.counted | bit
      if (state.phase === "closed") {
        const streak = operation.result === "failed" ? state.streak + 1 : 0
        return [{ ...state, counted, streak, ...(streak >= failures ? { phase: "due", by: i } : {}) }]
      }
      // Outcomes that are reported together, or while the trip is under way, may be counted before it.
      const isForgotten = state.phase === "due" && operation.result === "succeeded"
      return [
        { ...state, counted },
        ...(isForgotten ? [{ ...state, counted, phase: "closed" as const, streak: 0 }] : [])
      ]
    }).concat(state.phase === "due" ? [{ ...state, phase: "open" }] : [])

  const next = (state: State): State | undefined => {
    const { operation: i, what } = events[state.at]!
    const { isInDoubt, result } = history[i]!
    const isPossible = what === "starts" || (what === "returns" && result === "rejected")
      ? has(state.decided, i)
      : what !== "returns" || isInDoubt || (has(state.counted, i) && !(state.phase === "due" && state.by === i))
    return isPossible ? { ...state, at: state.at + 1 } : undefined
  }

  const seen = new Set<string>()
  const search = (state: State): boolean => {
    if (state.at === events.length) return true
    const key = JSON.stringify(state)
    if (seen.has(key)) return false
    seen.add(key)
    const after = next(state)
    return (after !== undefined && search(after)) || unseen(state).some(search)
  }
  return search({ at: 0, decided: 0, counted: 0, streak: 0, phase: "closed", by: -1 })
}
