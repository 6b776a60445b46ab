/** A circuit with no Effect around it: its clock is a variable, and its listener keeps the transitions. */
import * as Context from "effect/Context"
import type { Plan } from "../../src/core/Plan.ts"
import type { State } from "../../src/core/State.ts"
import type { Event } from "../../src/Event.ts"
import { Circuit } from "../../src/internal/Circuit.ts"
import { Hub } from "../../src/internal/Hub.ts"
import type { Shared } from "../../src/internal/Shared.ts"
import { Ticker } from "../../src/internal/Ticker.ts"

class Transitions extends Hub {
  readonly seen: Array<readonly [State["_tag"], State["_tag"]]> = []
  override get listening(): boolean {
    return true
  }
  override publish(event: Event): void {
    if (event._tag === "Transition") this.seen.push([event.from, event.to])
  }
}

export interface Watched {
  readonly circuit: Circuit
  readonly transitions: ReadonlyArray<readonly [State["_tag"], State["_tag"]]>
}

export const circuitOf = (plan: Plan, now: () => number): Watched => {
  const hub = new Transitions()
  const clock = {
    currentTimeMillisUnsafe: now,
    monotonicTimeNanosUnsafe: () => BigInt(Math.round(now() * 1e6))
  } as Shared["clock"]
  const shared: Shared = {
    ...plan,
    name: "watched",
    timeoutMillis: undefined,
    probeTimeoutMillis: undefined,
    maxConcurrent: undefined,
    classify: undefined,
    context: Context.empty(),
    needsPermits: plan.slowerThanMillis !== undefined,
    clock,
    ticker: new Ticker(clock, 0, () => {}),
    hub,
    deadlines: () => {
      throw new Error("no call of this circuit has a timeout")
    },
    fleet: undefined,
    trace: undefined,
    report: () => {}
  }
  return { circuit: new Circuit(shared, undefined), transitions: hub.seen }
}
