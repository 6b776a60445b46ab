/** Runs a schedule and returns the invariants that it broke. */
import { Fleet } from "../../src/testing/internal/Fleet.ts"
import { Invariants } from "./invariants.ts"
import { LONGEST_CALL, type Schedule, type Step } from "./schedule.ts"

/** The first broken invariants, and the step after which they were found. */
export interface Failure {
  readonly step: number
  readonly broken: ReadonlyArray<string>
}

export const simulate = (schedule: Schedule): Failure | undefined => {
  try {
    return run(schedule)
  } catch (error) {
    return { step: -1, broken: [`0 ms: ${String(error)}`] }
  }
}

const run = (
  { bells, circuits, idleTimeToLive, neverOpenMoreThan, processes, pushes, quality, seed, steps }: Schedule
): Failure | undefined => {
  const fleet = new Fleet({ seed, circuits, neverOpenMoreThan, idleTimeToLive, pushes, bells })
  const invariants = new Invariants(fleet)
  for (let i = 0; i < processes; i++) fleet.start({ quality })
  const failedAt = (step: number): Failure | undefined => {
    invariants.afterStep()
    return invariants.broken.length === 0 ? undefined : { step, broken: invariants.broken }
  }
  for (const [i, step] of steps.entries()) {
    perform(fleet, invariants, step, quality)
    fleet.advance(step.after)
    const failure = failedAt(i)
    if (failure !== undefined) return failure
  }
  heal(fleet, quality)
  const check = () => failedAt(steps.length)
  // The last calls begin, and may take long. Their outcomes are reported while the fleet rests.
  let failure = rest(fleet, 2, check)
  for (let second = 0; second < LONGEST_CALL / 1000 && failure === undefined && isCalling(fleet); second++) {
    failure = rest(fleet, 1, check)
  }
  // A healthy circuit tells its last outcomes within the longest silence.
  failure ??= rest(fleet, bells ? 42 : 12, check)
  if (failure !== undefined) return failure
  const didExpire = fleet.world.now >= idleTimeToLive
  const didDie = fleet.processes.some(({ isAlive }) => !isAlive)
  invariants.atRest(fleet.server.losses === 0 && !didDie && !didExpire)
  for (let round = 0; round < 3; round++) {
    for (const process of fleet.processes) {
      if (process.isAlive) {
        for (const circuit of circuits.keys()) process.call(circuit, { ends: "succeeds", takes: 0 })
      }
    }
    failure = rest(fleet, 6, () => failedAt(steps.length + 1 + round))
    if (failure !== undefined) return failure
  }
  if (!didExpire) invariants.inAgreement()
  return failedAt(steps.length + 4)
}

/** Lets seconds pass, checking the fleet after each. */
const rest = (fleet: Fleet, seconds: number, check: () => Failure | undefined): Failure | undefined => {
  for (let i = 0; i < seconds; i++) {
    fleet.advance(1000)
    const failure = check()
    if (failure !== undefined) return failure
  }
  return undefined
}

const isCalling = ({ processes }: Fleet): boolean => processes.some(({ calls, isAlive }) => isAlive && calls.size > 0)

const heal = ({ processes, server }: Fleet, quality: Schedule["quality"]): void => {
  server.unavailable.clear()
  server.lockedUntil.clear()
  for (const { link, machine } of processes) {
    link.quality = quality
    link.hurtAt = machine.world.now
    machine.resume()
  }
}

const perform = (fleet: Fleet, invariants: Invariants, step: Step, quality: Schedule["quality"]): void => {
  const { options: { circuits }, processes, server, world } = fleet
  const nameOf = (circuit: number): string => circuits[circuit]!.name
  // A shrunk schedule may name a process that it no longer starts.
  const process = "process" in step ? processes[step.process] : undefined
  if ("process" in step && process?.isAlive !== true) return
  switch (step.do) {
    case "calls":
      for (const [i, behaviour] of step.of.entries()) {
        world.after(i * step.every, () => process!.isAlive && process!.call(step.circuit, behaviour))
      }
      return
    case "link":
      process!.link.hurtAt = world.now
      process!.link.quality = step.quality
      return
    case "pause":
      return process!.machine.pause()
    case "suspend":
      return process!.machine.suspend()
    case "resume":
      return process!.machine.resume(step.inReverse)
    case "crash":
      return process!.crash()
    case "stop":
      return process!.stop()
    case "start":
      if (processes.length < 12) fleet.start({ quality, skew: step.skew })
      return
    case "wipe":
      invariants.upset()
      return server.wipe()
    case "failover":
      invariants.upset()
      return server.failover(step.behind)
    case "clock":
      invariants.upset(step.by)
      return server.stepClock(step.by)
    case "lock":
      server.lockedUntil.set(nameOf(step.circuit), world.now + step.for)
      return
    case "shard":
      if (step.isDown) server.unavailable.add(nameOf(step.circuit))
      else server.unavailable.delete(nameOf(step.circuit))
      for (const { link } of processes) link.hurtAt = world.now
      return
    case "override": {
      const { circuit, expiresIn, mode } = step
      process!.operate(
        circuit,
        (breaker) =>
          breaker.override({
            mode,
            reason: "drill",
            actor: "operator",
            ...(expiresIn === undefined ? {} : { expiresIn })
          })
      )
      return
    }
    case "clear":
      process!.operate(step.circuit, (breaker) => breaker.clearOverride({ actor: "operator" }))
      return
    case "reset":
      process!.operate(step.circuit, (breaker) => breaker.reset)
      return
    case "halfOpen":
      process!.operate(step.circuit, (breaker) => breaker.forceHalfOpen)
      return
    case "reconfigure":
      return process!.reconfigure(step.circuit, step.change)
    case "nothing":
      return
  }
}
