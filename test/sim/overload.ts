/**
 * Fleets that throttle: what they let through of what they are asked for, in the steady state and after a recovery, and who sheds
 * where not all instances meet the same.
 */
import type { Breaker } from "../../src/index.ts"
import type { Behaviour, Call, Process } from "../../src/testing/internal/Fleet.ts"
import { Rng } from "../../src/testing/internal/Random.ts"
import { fails, NODES, type Nodes, startNodes, succeeds } from "./nodes.ts"

const WITHIN_MILLIS = 20_000
const TURN_MILLIS = 100

const policy: Breaker.Data = {
  trip: { _tag: "ConsecutiveFailures", failures: 1_000_000 },
  throttle: { k: 2, within: WITHIN_MILLIS, minimumCalls: 20 }
}

interface Running extends Nodes {
  /** How many calls of a node ran since it was asked last, and how many were shed. */
  readonly taken: (node: Process) => { readonly ran: number; readonly shed: number }
}

const start = (seed: number): Running => {
  const all = startNodes(seed, policy, 50)
  const ended = new Map<Process, Array<Call>>()
  all.fleet.watchers.push({
    callEnds: (call) => {
      ended.set(call.process, [...ended.get(call.process) ?? [], call])
    }
  })
  return {
    ...all,
    taken: (node) => {
      const calls = ended.get(node) ?? []
      ended.delete(node)
      const ran = calls.filter(({ startedAt }) => startedAt !== undefined).length
      return { ran, shed: calls.length - ran }
    }
  }
}

/** Runs for so long, and makes the calls of each turn. */
const turns = ({ fleet }: Running, millis: number, calls: (turn: number) => void): void => {
  for (let turn = 0; turn < millis / TURN_MILLIS; turn++) {
    calls(turn)
    fleet.advance(TURN_MILLIS)
  }
}

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((total, n) => total + n, 0)

/** A dependency that takes so many calls in a turn. */
class Dependency {
  left = 0

  /** The behaviour of every call: the first ones of a turn succeed. */
  readonly call: Behaviour

  constructor() {
    const succeeds = (): boolean => this.left-- > 0
    this.call = {
      takes: 0,
      get ends() {
        return succeeds() ? "succeeds" as const : "fails" as const
      }
    }
  }
}

export interface Overload {
  /** How many calls ran a second, in each of the last stretches of ten seconds. */
  readonly ran: ReadonlyArray<number>
  /** How many would, by the closed form. */
  readonly expected: number
  /** How many seconds passed from the recovery of the dependency to the last call that was shed. */
  readonly recovery: number
}

/**
 * The most windows until nothing is shed any more after a recovery. With `k` 2 the accepted part x of an instance's window grows by
 * (2x - a) / window, where a is that part before the recovery, and nothing is shed once it is a half: after ln((1 - a) / a) / 2 windows.
 * These are 0.7 for an instance that shed 60 % of its calls, and at least 1.5 for one that shed `max`, because accepted calls leave
 * the window then, too. An instance here makes 200 calls in a window, so the last one of a fleet takes 0.95 to 2.05 windows (seeds 1 to 40).
 */
const MOST_WINDOWS = 2.5

/** A fleet that asks for 100 calls a second of a dependency that takes 20, and then all. */
export const overload = (seed: number): Overload => {
  const running = start(seed)
  const { nodes, taken } = running
  const dependency = new Dependency()
  let capacity = 2
  const run = (millis: number): ReadonlyArray<{ readonly ran: number; readonly shed: number }> => {
    turns(running, millis, (turn) => {
      dependency.left = capacity
      for (let i = 0; i < NODES; i++) nodes[(turn * 7 + i) % NODES]!.call(0, dependency.call)
    })
    return nodes.map(taken)
  }
  run(2 * WITHIN_MILLIS)
  const ran = Array.from({ length: 20 }, () => sum(run(10_000).map(({ ran }) => ran)) / 10)
  capacity = Infinity
  let recovery = 0
  while (sum(run(1000).map(({ shed }) => shed)) > 0) recovery++
  return { ran, expected: 2 * 20, recovery }
}

/** How many calls each node sheds, of as many requests, where one node alone fails and asks for more than all others together. */
export const shedWhereOneFails = (seed: number): { readonly bad: number; readonly others: number } => {
  const running = start(seed)
  const { nodes, taken } = running
  const [bad, ...others] = nodes
  turns(running, WITHIN_MILLIS / 2, () => nodes.forEach((node) => node.call(0, succeeds)))
  nodes.forEach(taken)
  turns(running, 2 * WITHIN_MILLIS, () => {
    for (let i = 0; i < 3 * NODES; i++) bad!.call(0, fails)
    for (const node of others) node.call(0, succeeds)
  })
  return { bad: taken(bad!).shed, others: sum(others.map((node) => taken(node).shed)) }
}

/** The share of their calls that is shed by nodes that have too few to judge by themselves, and all fail. */
export const shedByFew = (seed: number): number => {
  const running = start(seed)
  const { nodes, taken } = running
  const few = (millis: number): void =>
    turns(running, millis, (turn) => {
      if (turn % 3 === 0) nodes[(turn / 3) % NODES]!.call(0, fails)
    })
  few(WITHIN_MILLIS)
  nodes.forEach(taken)
  few(WITHIN_MILLIS)
  const all = nodes.map(taken)
  return sum(all.map(({ shed }) => shed)) / sum(all.map(({ ran, shed }) => ran + shed))
}

/** The share of its calls that a node with three in a window sheds, where all fail, and the other nodes have calls enough. */
export const shedBySmall = (seed: number): number => {
  const running = start(seed)
  const { nodes, taken } = running
  const [small, ...others] = nodes
  const fail = (millis: number): void =>
    turns(running, millis, (turn) => {
      if (turn % 5 === 0) { for (const node of others) node.call(0, fails) }
      if (turn % 66 === 0) small!.call(0, fails)
    })
  fail(WITHIN_MILLIS)
  taken(small!)
  fail(50 * WITHIN_MILLIS)
  const { ran, shed } = taken(small!)
  return shed / (ran + shed)
}

/** How many calls are shed where three nodes fail a few times, and the many successes of another are not reported yet. */
export const shedBeforeAllIsSaid = (seed: number): number => {
  const running = start(seed)
  const { fleet, nodes, taken } = running
  const rng = new Rng(seed, 1)
  const [busy, small, ...rest] = nodes
  for (const node of nodes) node.call(0, succeeds)
  turns(running, 4000 + rng.int(0, 1000), () => {})
  nodes.forEach(taken)
  for (const bad of rest.slice(0, 3)) {
    for (let i = 0; i < 10; i++) fleet.world.after(rng.int(0, 200), () => bad.call(0, fails))
  }
  turns(running, 4000, (turn) => {
    for (let i = 0; i < 30; i++) busy!.call(0, succeeds)
    if (turn % 5 === 0) small!.call(0, succeeds)
  })
  return sum(nodes.map((node) => taken(node).shed))
}

/** What of all this is not as it is to be. */
export const brokenByOverload = (seed: number): ReadonlyArray<string> => {
  const { expected, ran, recovery } = overload(seed)
  const mean = sum(ran) / ran.length
  const { bad, others } = shedWhereOneFails(seed)
  const few = shedByFew(seed)
  const small = shedBySmall(seed)
  const unsaid = shedBeforeAllIsSaid(seed)
  const broken: ReadonlyArray<readonly [isBroken: boolean, what: string]> = [
    [Math.abs(mean - expected) > 0.05 * expected, `${mean} calls a second ran, of which ${expected} were to`],
    [ran.some((each) => Math.abs(each - mean) > 0.15 * mean), `it oscillates: ${ran}`],
    [recovery * 1000 > MOST_WINDOWS * WITHIN_MILLIS, `it sheds for ${recovery} s after the recovery`],
    [bad < 6000, `the node that fails sheds ${bad} of 12000 calls`],
    [others > 0, `the other nodes shed ${others} calls`],
    [few < 0.6, `nodes with few calls shed ${few} of those that fail`],
    [small < 0.8, `a node with few calls sheds ${small} of them where all calls of the fleet fail`],
    [unsaid > 0, `${unsaid} calls were shed before everything was said`]
  ]
  return broken.flatMap(([isBroken, what]) => isBroken ? [what] : [])
}
