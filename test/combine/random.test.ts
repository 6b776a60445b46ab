/** Random histories: processes on chains and mirrors, whose links to the storages fail and recover independently. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { circuitOf, failures, FORCED, HOUR } from "../../src/conformance/Law.ts"
import * as Fallback from "../../src/Storage/Fallback.ts"
import * as Mirror from "../../src/Storage/Mirror.ts"
import { failing, type Fault, hanging, Link, lostReply, memory } from "../support/storages.ts"
import { untilQuiet } from "../utils.ts"

/** Mulberry32 (https://gist.github.com/tommyettinger/46a874533244883189143505d203312c). */
const randomOf = (seed: number) => (below: number) => {
  seed = (seed + 0x6d2b79f5) | 0
  let bits = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
  return ((bits ^ (bits >>> 14)) >>> 0) % below
}

const FAULTS: ReadonlyArray<Fault | undefined> = [
  undefined,
  failing("Unavailable"),
  failing("Deadline"),
  hanging,
  lostReply
]

const NAMES = ["a", "b", "c"]

const history = (kind: "fallback" | "mirror", seed: number) =>
  Effect.gen(function*() {
    const random = randomOf(seed)
    const [better, lesser] = [{ ...(yield* memory), backend: "better" }, { ...(yield* memory), backend: "lesser" }]
    const processes = yield* Effect.forEach([0, 1, 2], () =>
      Effect.gen(function*() {
        const links = [new Link(better, { durable: true }), new Link(lesser, { durable: true })] as const
        const hops = [{ storage: links[0].storage, deadline: 300 }, { storage: links[1].storage }] as const
        const storage = yield* (kind === "mirror" ? Mirror.make(hops) : Fallback.make(hops))
        return { links, circuits: NAMES.map((name) => circuitOf(storage, name)) }
      }))
    /** Calls whose report was acknowledged, and calls whose report may have been counted. */
    const reported = new Map(NAMES.map((name) => [name, { counted: 0, inDoubt: 0 }]))
    const run = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(Effect.exit(effect), { startImmediately: true })
        for (let i = 0; i < 40 && fiber.pollUnsafe() === undefined; i++) {
          yield* TestClock.adjust("100 millis")
          yield* untilQuiet
        }
        return (yield* Fiber.join(fiber))._tag === "Success"
      })
    for (let step = 0; step < 60; step++) {
      const process = random(3)
      const { circuits, links } = processes[process]!
      const circuit = circuits[random(3)]!
      // Two changes at the same time would have the same generation.
      yield* TestClock.adjust("1 millis")
      switch (random(8)) {
        case 0:
        case 1:
        case 2: {
          const calls = 1 + random(9)
          const ok = yield* run(circuit.report(failures(calls), { instance: `i${process}`, sequence: step + 1 }))
          const counts = reported.get(circuit.name)!
          if (ok) counts.counted += calls
          else counts.inDoubt += calls
          break
        }
        case 3:
          yield* run(circuit.open({ openFor: 20 * HOUR, maxOpenFor: 20 * HOUR }))
          break
        case 4:
          yield* run(circuit.operate(random(2) === 0 ? { _tag: "Override", ...FORCED } : { _tag: "ClearOverride" }))
          break
        case 5:
          yield* run(circuit.operate({ _tag: "Reset" }))
          break
        case 6:
          links[random(2)]!.fault(FAULTS[random(FAULTS.length)])
          break
        case 7:
          yield* TestClock.adjust([100, 2000, 40_000][random(3)]!)
          yield* untilQuiet
      }
    }
    for (const { links } of processes) for (const link of links) link.fault(undefined)
    for (let i = 0; i < 40; i++) {
      for (const { circuits } of processes) for (const { read } of circuits) yield* run(read)
      yield* TestClock.adjust("5 seconds")
      yield* untilQuiet
    }
    return yield* Effect.forEach(NAMES, (name) =>
      Effect.all({
        name: Effect.succeed(name),
        reported: Effect.succeed(reported.get(name)!),
        better: circuitOf(better, name).read,
        lesser: circuitOf(lesser, name).read
      }))
  })

describe.each(["fallback", "mirror"] as const)("processes on a %s of two storages", (kind) => {
  it.effect(
    "processes agree on all circuits in the end, with each call counted once",
    () =>
      Effect.gen(function*() {
        for (let seed = 1; seed <= 100; seed++) {
          for (const { better, lesser, name, reported } of yield* Effect.scoped(history(kind, seed))) {
            const what = `seed ${seed}, circuit ${name}`
            const inWords = ({ generation, override, state }: typeof better) => [generation, state._tag, override?.kind]
            assert.deepStrictEqual(inWords(lesser), inWords(better), what)
            for (const { lifetime } of kind === "mirror" ? [better, lesser] : [better]) {
              assert.isAtLeast(lifetime.failure, reported.counted, what)
              assert.isAtMost(lifetime.failure, reported.counted + reported.inDoubt, what)
            }
          }
        }
      }),
    120_000
  )
})
