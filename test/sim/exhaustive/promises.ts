/**
 * What a small world promises besides the invariants of the protocol: how soon something is told, how often, and which calls run. A
 * promise is of what the search does, not of what has happened before.
 */
import { Result } from "effect"
import { isEmpty } from "../../../src/core/Delta.ts"
import type { CircuitRecord } from "../../../src/core/Record.ts"
import type { Synced } from "../../../src/Storage/Storage.ts"
import type { Process } from "../../../src/testing/internal/Fleet.ts"
import type { Exchange } from "../../../src/testing/internal/Link.ts"
import type { Stage } from "../../scenarios/stage.ts"

export interface Promised {
  /** What of it is broken now. */
  readonly broken: () => string | undefined
  /** What it remembers, told as of now. */
  readonly memory: () => unknown
  /** What is broken once the fleet is at rest. */
  readonly brokenAtRest?: () => string | undefined
}

export type Promising = (stage: Stage) => Promised

const recordOf = ({ fleet: { options: { circuits }, server } }: Stage): CircuitRecord | undefined =>
  server.documents.get(circuits[0]!.name)?.record

const isAlert = (stage: Stage): boolean => {
  const { alert } = recordOf(stage) ?? {}
  return alert !== undefined && stage.fleet.server.now() < alert.until
}

/** Outcomes that a request reports, and `undefined` where it reports none. */
const reportedIn = ({ inputs, kind }: Exchange) => {
  const [input] = inputs.values()
  if (kind !== "sync" || input?._tag !== "Report") return undefined
  const { lifetime } = input.delta
  return Object.values(lifetime).some((count) => count > 0) ? lifetime : undefined
}

/** The circuit stays closed for the fleet. */
export const staysClosed: Promising = (stage) => ({
  broken: () =>
    (recordOf(stage)?.lifetime.opened ?? 0) > 0
      ? "the circuit opened for the fleet, and the evidence of all does not trip"
      : undefined,
  memory: () => undefined
})

/** What a process has met and not told is told within this time, once it is due. */
export const tells = (
  what: "failure" | "slow",
  within: number,
  isDue: (untold: number, process: Process) => boolean
): Promising =>
(stage) => {
  const { fleet } = stage
  const told = new Map<Process, number>()
  const dues = new Map<Process, number>()
  const met = (process: Process): number => process.snapshot(0).statistics[what]
  const begun = new Map(fleet.processes.map((process) => [process, met(process)]))
  let broken: string | undefined = undefined
  const look = (): void => {
    const [late] = [...dues].filter(([, due]) => fleet.world.now - due > within)
    if (late === undefined) return
    const [process, due] = late
    broken = `process ${process.index} has told nothing for ${fleet.world.now - due} ms, and the circuit could open`
  }
  const untold = (process: Process): number => met(process) - begun.get(process)! - (told.get(process) ?? 0)
  fleet.watchers.push({
    sent: (process, exchange) => {
      look()
      told.set(process, (told.get(process) ?? 0) + (reportedIn(exchange)?.[what] ?? 0))
      if (untold(process) <= 0) dues.delete(process)
    },
    callEnds: ({ process }) => {
      if (isDue(untold(process), process) && !dues.has(process)) dues.set(process, fleet.world.now)
    }
  })
  return {
    broken: () => {
      look()
      return broken
    },
    memory: () => ofEach(stage, (process) => [untold(process), agoOf(stage, dues.get(process))])
  }
}

/** After a report of an instance that knows of so many failures in a row there is an alert. */
export const calls = (streak: number): Promising => (stage) => {
  const { fleet } = stage
  // Whoever has met them has told them, and was answered.
  const suspects = new Set(fleet.processes.filter((process) => process.snapshot(0).statistics.failure >= streak))
  let broken: string | undefined = undefined
  fleet.watchers.push({
    ended: (process, { kind }, exit) => {
      if (kind !== "sync" || exit?._tag !== "Success") return
      const [answer] = exit.value as ReadonlyArray<Synced>
      const snapshot = Result.getOrUndefined(answer!.result)?.snapshot
      if (snapshot?.state._tag === "Closed" && snapshot.streak >= streak) suspects.add(process)
      else suspects.delete(process)
    },
    handled: ({ from, input }) => {
      if (input._tag !== "Report" || isEmpty(input.delta) || isAlert(stage)) return
      if (suspects.has(fleet.processes[from]!)) {
        broken = `process ${from} reports, knows of ${streak} failures in a row, and calls no alert`
      }
    }
  })
  return { broken: () => broken, memory: () => suspects }
}

/** No process reports more often than so many times within this time. */
export const reportsAtMost = (most: number, within: number): Promising => (stage) => {
  const { fleet } = stage
  const sent = new Map<Process, ReadonlyArray<number>>()
  const recent = (process: Process) => (sent.get(process) ?? []).filter((at) => fleet.world.now - at < within)
  let broken: string | undefined = undefined
  fleet.watchers.push({
    sent: (process, exchange) => {
      if (reportedIn(exchange) === undefined) return
      sent.set(process, [...recent(process), fleet.world.now])
      const { length } = recent(process)
      if (length > most) broken = `process ${process.index} reports ${length} times in less than ${within} ms`
    }
  })
  return {
    broken: () => broken,
    memory: () => ofEach(stage, (process) => recent(process).map((at) => agoOf(stage, at)))
  }
}

/** Two processes that draw different numbers do not answer an alert at the same time. */
export const answersApart: Promising = (stage) => {
  const { fleet } = stage
  let last: readonly [at: number, of: Process] | undefined = undefined
  let broken: string | undefined = undefined
  fleet.watchers.push({
    sent: (process, exchange) => {
      if (reportedIn(exchange) === undefined || !isAlert(stage)) return
      const { now } = fleet.world
      if (last?.[0] === now && last[1].machine.draw !== process.machine.draw) {
        broken = `processes ${last[1].index} and ${process.index} answer an alert at the same time`
      }
      last = [now, process]
    }
  })
  return { broken: () => broken, memory: () => [agoOf(stage, last?.[0]), last?.[1]] }
}

/** Of each process, in their order, all calls are shed (`true`) or none. */
export const sheds = (...expected: ReadonlyArray<boolean | undefined>): Promising => (stage) => {
  const { fleet } = stage
  let broken: string | undefined = undefined
  fleet.watchers.push({
    callEnds: ({ process, startedAt }) => {
      const isShed = startedAt === undefined
      if (isShed === (expected[process.index] ?? isShed)) return
      broken = !isShed
        ? `a call of process ${process.index} ran, which was to be shed`
        : `a call of process ${process.index} was shed, and the requests of all shed none`
    }
  })
  return { broken: () => broken, memory: () => ofEach(stage, ({ index }) => expected[index]) }
}

/** At rest every process knows the newest generation that any storage has. */
export const knowsNewest: Promising = ({ fleet: { options: { circuits: [circuit] }, processes, servers } }) => ({
  broken: () => undefined,
  memory: () => undefined,
  brokenAtRest: () => {
    const stored = Math.max(...servers.map(({ documents }) => documents.get(circuit!.name)?.record.generation ?? 0))
    const [wrong] = processes.filter((process) => process.snapshot(0).fleet?.generation !== stored)
    return wrong === undefined ? undefined : `process ${wrong.index} has not heard of what an operator did`
  }
})

const ofEach = <A>({ fleet: { processes } }: Stage, of: (process: Process) => A): ReadonlyMap<Process, A> =>
  new Map(processes.map((process) => [process, of(process)]))

const agoOf = ({ fleet: { world } }: Stage, at: number | undefined): number | undefined =>
  at === undefined ? undefined : Math.round((world.now - at) * 10) / 10
