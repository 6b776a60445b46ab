/**
 * The evidence of one epoch: the streak of failures and the linked windows (`Window.ts`). A circuit keeps both as fields of its
 * own, because an object for them would cost every circuit its memory.
 */
import type { Plan } from "./Plan.ts"
import type { LocalMillis } from "./Time.ts"
import { type RuleWindow, sameWindow, type Totals } from "./TripRule.ts"
import { countedIn, makeWindow, type Window } from "./Window.ts"

/** Counts one call in each of the windows. */
export const recordIn = (windows: Window | undefined, now: LocalMillis, failed: boolean, slow: boolean): void => {
  for (let window = windows; window !== undefined; window = window.next) window.record(now, failed, slow)
}

/** Drops the calls that have become too old. */
export const advanceTo = (windows: Window | undefined, now: LocalMillis): void => {
  for (let window = windows; window !== undefined; window = window.next) window.advance(now)
}

/** Whether a success could trip, too: by completing the minimum of calls for failures or slow calls that are there. */
export const successCouldTrip = (windows: Window | undefined): boolean => {
  for (let window = windows; window !== undefined; window = window.next) {
    if (window.failure > 0 || window.slow > 0) return true
  }
  return false
}

/**
 * The windows of a changed plan. One that looks back as far as one of `before` keeps its calls, and the others are empty. Calls that
 * were slow by another duration are not comparable, so none of those that are kept counts as slow then.
 */
export const carriedOver = (
  before: Pick<Plan, "windows" | "slowerThanMillis">,
  windows: Window | undefined,
  plan: Pick<Plan, "windows" | "slowerThanMillis" | "throttle">
): Window | undefined => {
  const { slowerThanMillis, windows: after } = plan
  const keepsSlow = slowerThanMillis !== undefined && slowerThanMillis === before.slowerThanMillis
  return after.reduceRight<Window | undefined>((next, of) => {
    const same = windowAt(windows, before.windows.findIndex((other) => sameWindow(other, of)))
    const counted = countedIn(of, plan)
    return same === undefined ? makeWindow(of, counted, next) : same.resumed(next, counted, keepsSlow)
  }, undefined)
}

const windowAt = (windows: Window | undefined, index: number): Window | undefined => {
  if (index < 0) return undefined
  let window = windows
  for (let i = index; i > 0; i--) window = window?.next
  return window
}

/** One of the plan's windows, as of the last call or `totalsAt`. */
export const windowOf = ({ windows: all }: Plan, windows: Window | undefined, of: RuleWindow): Window => {
  let window = windows!
  for (let i = all.findIndex((window) => sameWindow(window, of)); i > 0; i--) window = window.next!
  return window
}

/** The totals of every window of the plan at `now`. */
export const totalsAt = (
  { windows: rule }: Plan,
  windows: Window | undefined,
  now: LocalMillis
): ReadonlyArray<{ readonly of: RuleWindow } & Totals> => {
  const totals = []
  for (let window = windows, i = 0; window !== undefined; window = window.next, i++) {
    window.advance(now)
    const { failure, slow, success } = window
    totals.push({ of: rule[i]!, success, failure, slow })
  }
  return totals
}
