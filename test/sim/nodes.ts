/**
 * What simulated fleets have in common, and fleets of ten nodes that start one after the other. Those have no pushes, and their
 * instances are silent while they are healthy.
 */
import type { Breaker } from "../../src/index.ts"
import { type Behaviour, Fleet, type Process } from "../../src/testing/internal/Fleet.ts"
import { perfect } from "../../src/testing/internal/Link.ts"
import { Rng } from "../../src/testing/internal/Random.ts"

export const NODES = 10

export const fails: Behaviour = { ends: "fails", takes: 0 }
export const succeeds: Behaviour = { ends: "succeeds", takes: 0 }

/** Half of the calls within so many milliseconds. */
export const rateWithin = (duration: number, minimumCalls = 20) =>
  ({ _tag: "FailureRate", threshold: 0.5, minimumCalls, window: { _tag: "Within", duration } }) as const

export interface Nodes {
  readonly fleet: Fleet
  readonly nodes: ReadonlyArray<Process>
  readonly rng: Rng
}

export const startNodes = (seed: number, policy: Breaker.Data, latency: number): Nodes => {
  const rng = new Rng(seed)
  const quiet = { ...policy, evidence: "pooled", reports: "quiet" } as const
  const fleet = new Fleet({ seed, circuits: [{ name: "c", policy: quiet }], bells: true })
  const nodes = Array.from({ length: NODES }, () => {
    fleet.advance(rng.int(0, 100))
    return fleet.start({ quality: { ...perfect, latency } })
  })
  return { fleet, nodes, rng }
}
