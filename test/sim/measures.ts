/**
 * What quiet reports promise in numbers: how soon a fleet hears of trouble, and what that costs its storage. Without one of the
 * rules that hold a number, it is out of its bounds.
 */
import type { Breaker } from "../../src/index.ts"
import { type Behaviour, Fleet, type Process } from "../../src/testing/internal/Fleet.ts"
import { perfect } from "../../src/testing/internal/Link.ts"
import { Rng } from "../../src/testing/internal/Random.ts"
import { fails, rateWithin, succeeds } from "./nodes.ts"

const streak: Breaker.Data = {
  trip: { _tag: "ConsecutiveFailures", failures: 5 },
  evidence: "pooled",
  reports: "quiet"
}

const rate: Breaker.Data = {
  trip: rateWithin(30_000),
  evidence: "pooled",
  reports: "quiet"
}

/** Silent for 30 seconds while it is healthy. */
const longRate = rateWithin(120_000, 40)

/** So many of a hundred calls fail, at random. */
const partly = (percent: number) => {
  const rng = new Rng(2)
  return () => rng.chance(percent / 100) ? fails : succeeds
}

interface Sent {
  readonly at: number
  readonly from: Process
  /** Failures and slow calls that it told. */
  readonly bad: number
}

/** A fleet of one circuit with no pushes, whose reports are noted. */
class Measured {
  readonly fleet: Fleet
  readonly nodes: ReadonlyArray<Process>
  readonly sent: Array<Sent> = []

  constructor(policy: Breaker.Data, count: number, pushes = false) {
    this.fleet = new Fleet({ seed: 1, circuits: [{ name: "c", policy }], bells: true, pushes })
    this.fleet.watchers.push({
      sent: (from, { inputs, kind }) => {
        const input = inputs.get("c")
        if (kind !== "sync" || input?._tag !== "Report") return
        const { failure, slow } = input.delta.lifetime
        this.sent.push({ at: this.now, from, bad: failure + slow })
      }
    })
    this.nodes = Array.from({ length: count }, (_, i) => {
      this.fleet.advance(37 + i % 7)
      return this.fleet.start({ quality: { ...perfect, latency: 5 } })
    })
  }

  get now(): number {
    return this.fleet.world.now
  }

  get isOpen(): boolean {
    return this.fleet.server.documents.get("c")?.record.state._tag === "Open"
  }

  /** Lets time pass in which each node makes a call every so many milliseconds. */
  pass(millis: number, every: number, behaviour: (node: Process, call: number) => Behaviour = () => succeeds): void {
    for (let at = 0; at < millis; at += every) {
      for (const node of this.nodes) node.call(0, behaviour(node, at / every))
      this.fleet.advance(every)
    }
  }

  /** How often each node reports, after a while of such calls; `Infinity` where they open the circuit. */
  reportsASecond(every: number, behaviour: (node: Process, call: number) => Behaviour): number {
    this.pass(40_000, every, behaviour)
    const at = this.now
    this.pass(60_000, every, behaviour)
    return this.isOpen ? Infinity : this.reportsSince(at).length / 60 / this.nodes.length
  }

  reportsSince(at: number): ReadonlyArray<Sent> {
    return this.sent.filter((one) => one.at >= at)
  }

  /** How long after this time something bad was told first; the time until now where it was not. */
  toldAfter(at: number): number {
    return (this.reportsSince(at).find(({ bad }) => bad > 0)?.at ?? this.now) - at
  }
}

export interface Measure {
  readonly unit: string
  readonly most: number
  readonly of: () => number
}

export const measures = {
  "from failures that could open the circuit to their report": {
    unit: "ms",
    most: 60,
    of: () => {
      const measured = new Measured(streak, 3)
      measured.pass(20_000, 500)
      const [first] = measured.nodes
      const at = measured.now
      for (let i = 0; i < 2; i++) first!.call(0, fails)
      measured.fleet.advance(5000)
      return measured.toldAfter(at)
    }
  },
  "from an instance's own trip to its report, in a fleet that is healthy": {
    unit: "ms",
    most: 60,
    of: () => {
      const measured = new Measured(rate, 10)
      const [bad, ...others] = measured.nodes
      // It knows that the others have many successes, beside which its failures could not open the circuit.
      for (let i = 0; i < 200; i++) {
        for (const node of others) node.call(0, succeeds)
        if (i % 10 === 0) bad!.call(0, succeeds)
        measured.fleet.advance(100)
      }
      const at = measured.now
      for (let i = 0; i < 25; i++) bad!.call(0, fails)
      measured.fleet.advance(3000)
      return measured.toldAfter(at)
    }
  },
  "from the first slow call of each instance to a report of it": {
    unit: "ms",
    most: 7000,
    of: () => {
      const trip = { ...longRate, _tag: "SlowCallRate", slowerThan: 100 } as const
      const measured = new Measured({ ...rate, trip }, 3)
      measured.pass(40_000, 10_000)
      const at = measured.now
      measured.pass(20_000, 1000, () => ({ ends: "succeeds", takes: 200 }))
      return measured.toldAfter(at)
    }
  },
  "from the first failure of a fleet with few calls to a report of it": {
    unit: "ms",
    most: 7000,
    of: () => {
      const measured = new Measured({ ...rate, trip: longRate }, 3)
      measured.pass(40_000, 10_000)
      const at = measured.now
      measured.pass(20_000, 1000, () => fails)
      return measured.toldAfter(at)
    }
  },
  "from a loss of the data in an alert to the opening": {
    unit: "ms",
    most: 2500,
    of: () => {
      const measured = new Measured({ ...rate, trip: rateWithin(30_000, 100) }, 10, true)
      // No instance makes enough calls to trip alone.
      const sick = (_: Process, call: number) => call * 11 % 20 < 11 ? fails : succeeds
      measured.pass(1200, 100, sick)
      measured.fleet.server.wipe()
      const at = measured.now
      for (const node of measured.nodes) for (let i = 0; i < 20; i++) node.call(0, fails)
      while (!measured.isOpen && measured.now < at + 8000) measured.pass(100, 100, () => fails)
      return measured.now - at
    }
  },
  "reports a second of ten instances, ten seconds after a burst of failures": {
    unit: "1/s",
    most: 3,
    of: () => {
      const measured = new Measured(streak, 10)
      measured.pass(5000, 100)
      measured.pass(400, 100, (node) => node.index === 0 ? fails : succeeds)
      measured.pass(10_000, 100)
      const at = measured.now
      measured.pass(20_000, 100)
      return measured.reportsSince(at).length / 20
    }
  },
  "reports a second of each of ten instances, where 45 % fail and nothing opens": {
    unit: "1/s",
    most: 1.2,
    of: () => {
      const measured = new Measured({ ...rate, reports: "every interval" }, 10)
      measured.pass(5000, 50)
      return measured.reportsASecond(50, (_, call) => call * 9 % 20 < 9 ? fails : succeeds)
    }
  },
  "reports a second of each of ten instances, of whose calls one in twenty fails": {
    unit: "1/s",
    most: 0.1,
    of: () =>
      new Measured(streak, 10)
        .reportsASecond(1000, ({ index }, call) => (call * 7 + index * 13) % 20 === 0 ? fails : succeeds)
  },
  "reports a second of each of twenty instances, of whose calls one in five fails": {
    unit: "1/s",
    most: 0.37,
    of: () => new Measured(streak, 20, true).reportsASecond(200, partly(20))
  },
  "reports a second of each of ten instances, where alerts begin and end": {
    unit: "1/s",
    most: 1.03,
    of: () => new Measured({ ...rate, trip: rateWithin(5000) }, 10, true).reportsASecond(300, partly(36))
  },
  "the share of forty instances that answer an alert in the same 50 ms": {
    unit: "1",
    most: 0.35,
    of: () => {
      const measured = new Measured(streak, 40, true)
      measured.pass(5000, 250)
      const at = measured.now
      for (let i = 0; i < 5; i++) measured.nodes[0]!.call(0, fails)
      measured.fleet.advance(1000)
      const times = measured.reportsSince(at).filter(({ from }) => from.index > 0).map((one) => one.at)
      return Math.max(...times.map((time) => times.filter((one) => one >= time && one < time + 50).length)) / 40
    }
  }
} satisfies Record<string, Measure>

export type MeasureName = keyof typeof measures
