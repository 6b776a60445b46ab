/** A fleet whose storage becomes slow, and fast again. */
import type { Breaker } from "../../src/index.ts"
import { type Behaviour, Fleet } from "../../src/testing/internal/Fleet.ts"
import { perfect } from "../../src/testing/internal/Link.ts"
import { rateWithin } from "./nodes.ts"

const PROCESSES = 5

/** One way. A request takes twice as long. */
const SLOW_MILLIS = 300

export const policy: Breaker.Data = {
  trip: rateWithin(30_000),
  evidence: "pooled",
  openFor: 60_000
}

export interface Slowed {
  /** Reports a second of all processes, while the storage is fast, slow, and fast again. */
  readonly fast: number
  readonly slow: number
  readonly fastAgain: number
  /** Calls that ended before the dependency failed, and how many of them the storage has in the end. */
  readonly calls: number
  readonly counted: number
  /** How long after the dependency failed the fleet opened. */
  readonly openedAfter: number | undefined
}

/** The longest time between two reports of one process about a circuit that is called all the time, on such a storage. */
export const longestSilence = (seed: number, latency: number, policy: Breaker.Data): number => {
  const fleet = new Fleet({ seed, circuits: [{ name: "c", policy }], bells: true })
  let [longest, lastAt] = [0, Infinity]
  fleet.watchers.push({
    sent: (_, { kind, sentAt }) => {
      if (kind !== "sync") return
      longest = Math.max(longest, sentAt - lastAt)
      lastAt = sentAt
    }
  })
  const node = fleet.start({ quality: { ...perfect, latency } })
  for (let i = 0; i < 1200; i++) {
    node.call(0, { ends: "succeeds", takes: 0 })
    fleet.advance(100)
  }
  return longest
}

/** Runs it. `reports` is the policy's. */
export const slowed = (seed: number, reports: "quiet" | "every interval"): Slowed => {
  const fleet = new Fleet({ seed, circuits: [{ name: "c", policy: { ...policy, reports } }], bells: true })
  let sent = 0
  let calls = 0
  fleet.watchers.push({
    sent: (_, { kind }) => {
      if (kind === "sync") sent++
    },
    callEnds: (_, exit) => {
      if (exit._tag === "Success") calls++
    }
  })
  const nodes = Array.from({ length: PROCESSES }, () => {
    fleet.advance(137)
    return fleet.start()
  })
  const record = () => fleet.server.documents.get("c")?.record
  const pass = (seconds: number, ends: Behaviour["ends"], until = () => false): number => {
    const before = fleet.world.now
    for (let i = 0; i < 10 * seconds && !until(); i++) {
      for (const node of nodes) node.call(0, { ends, takes: 0 })
      fleet.advance(100)
    }
    return fleet.world.now - before
  }
  const become = (latency: number): void => {
    for (const { link } of nodes) link.quality = { ...perfect, latency }
    pass(15, "succeeds")
  }
  const perSecond = (): number => {
    const before = sent
    return (pass(30, "succeeds"), sent - before) / 30
  }
  become(perfect.latency)
  const fast = perSecond()
  become(SLOW_MILLIS)
  const slow = perSecond()
  become(perfect.latency)
  const fastAgain = perSecond()
  become(SLOW_MILLIS)
  const isOpen = () => record()?.state._tag === "Open"
  const openedAfter = pass(60, "fails", isOpen)
  for (const node of nodes) node.stop()
  fleet.advance(5000)
  return {
    fast,
    slow,
    fastAgain,
    calls,
    counted: record()?.lifetime.success ?? 0,
    openedAfter: isOpen() ? openedAfter : undefined
  }
}

/**
 * How long after the dependency failed the fleet opened, on a storage that is as slow as it can be. Instances isolate themselves
 * long before, so that later there is only what their own probes tell.
 */
export const openedThoughIsolated = (seed: number, latency: number): number => {
  const circuits = [{ name: "c", policy: { ...policy, trip: rateWithin(9000), openFor: 3000 } }]
  const fleet = new Fleet({ seed, circuits, bells: true })
  const nodes = Array.from({ length: 8 }, () => {
    fleet.advance(137)
    return fleet.start({ quality: { ...perfect, latency } })
  })
  const pass = (seconds: number, ends: Behaviour["ends"], until = () => false): number => {
    const before = fleet.world.now
    for (let i = 0; i < 60 * seconds && !until(); i++) {
      for (const node of nodes) node.call(0, { ends, takes: 0 })
      fleet.advance(1000 / 60)
    }
    return fleet.world.now - before
  }
  pass(1, "succeeds")
  return pass(60, "fails", () => fleet.server.documents.get("c")?.record?.state._tag === "Open")
}
