/** How much a simulated fleet sends, on the same engine, with a clock of its own. */
import type { Breaker } from "../../src/index.ts"
import { type Behaviour, Fleet } from "../../src/testing/internal/Fleet.ts"
import { Rng } from "../../src/testing/internal/Random.ts"
import type { Load } from "./member.ts"

export interface Simulated {
  readonly reports: number
  readonly polls: number
}

const succeeds: Behaviour = { ends: "succeeds", takes: 0 }
const fails: Behaviour = { ends: "fails", takes: 0 }

const isCounting = (input: unknown): boolean => {
  const { delta, suspect } = input as { readonly delta?: { readonly lifetime: object }; readonly suspect?: number }
  return suspect !== undefined || Object.values(delta?.lifetime ?? {}).some((count) => count > 0)
}

/** Reports and polls per second of a fleet of instances, for one circuit, after some time to warm up. */
export const simulate = (
  { instances, load, policy, seconds }: {
    readonly instances: number
    readonly policy: Breaker.Data
    readonly load: Load
    readonly seconds: number
  }
): Simulated => {
  const rng = new Rng(instances)
  const fleet = new Fleet({ seed: 1, circuits: [{ name: "c", policy }], bells: true, pushes: true })
  let [reports, polls] = [0, 0]
  fleet.watchers.push({
    sent: (_, { inputs, kind }) => {
      if (kind === "bells") polls++
      if (kind === "sync") reports += [...inputs.values()].filter(isCounting).length
    }
  })
  for (let i = 0; i < instances; i++) fleet.start()
  const run = (millis: number) => {
    const end = fleet.world.now + millis
    for (const process of fleet.processes) {
      const gap = () => -Math.log(1 - rng.int(0, 999_999) / 1e6) * 1000 / load.rate
      const next = () => {
        if (fleet.world.now >= end) return
        process.call(0, rng.int(0, 999_999) / 1e6 < load.failing ? fails : succeeds)
        fleet.world.after(gap(), next)
      }
      fleet.world.after(gap(), next)
    }
    fleet.advance(millis)
  }
  run(WARM_UP_MILLIS)
  ;[reports, polls] = [0, 0]
  run(seconds * 1000)
  return { reports: reports / seconds, polls: polls / seconds }
}

/** The longest time that a healthy circuit is silent, and some more. */
const WARM_UP_MILLIS = 40_000
