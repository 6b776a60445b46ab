/**
 * `npm run bench:ways`: nanoseconds that the ways of Effect's public interface add to a call, in which a breaker could learn
 * how the call ended. The last column says what a way would miss. The ways take turns in one process that has run many kinds
 * of effects, as a real one has.
 */
import { Effect, type Exit, Scope } from "effect"
import { succeeding } from "./cases.ts"
import { inHand, memory } from "./contenders/ours.ts"
import { median } from "./timing.ts"

const CALLS = 2000
const ROUNDS = 300

type Call = Effect.Effect<number, unknown>

const counts = { gate: 0, success: 0, failure: 0 }

const count = (exit: Exit.Exit<unknown, unknown>): undefined => {
  if (exit._tag === "Success") counts.success++
  else counts.failure++
  return undefined
}

const counting = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> => {
  count(exit)
  return Effect.void
}

const ways: ReadonlyArray<readonly [name: string, misses: string, wrap: (self: Call) => Call]> = [
  ["nothing", "everything", (self) => self],
  [
    "withFiber, onExitPrimitive (as it is)",
    "nothing",
    (self) => Effect.withFiber(() => counts.gate !== 0 ? self : Effect.onExitPrimitive(self, count))
  ],
  [
    "suspend, onExitPrimitive",
    "the fiber's Enforcement",
    (self) => Effect.suspend(() => counts.gate !== 0 ? self : Effect.onExitPrimitive(self, count))
  ],
  ["onExitPrimitive alone", "the gate", (self) => Effect.onExitPrimitive(self, count)],
  [
    "withFiber, onExitPrimitive, interruptible",
    "interruptions",
    (self) => Effect.withFiber(() => counts.gate !== 0 ? self : Effect.onExitPrimitive(self, count, true))
  ],
  [
    "withFiber, onExit",
    "nothing",
    (self) => Effect.withFiber(() => counts.gate !== 0 ? self : Effect.onExit(self, counting))
  ],
  [
    "withFiber, matchCauseEffect",
    "interruptions",
    (self) =>
      Effect.withFiber(() =>
        counts.gate !== 0 ? self : Effect.matchCauseEffect(self, {
          onFailure: (cause) => {
            counts.failure++
            return Effect.failCause(cause)
          },
          onSuccess: (value) => {
            counts.success++
            return Effect.succeed(value)
          }
        })
      )
  ],
  [
    "withFiber, tap",
    "failures, interruptions",
    (self) =>
      Effect.withFiber(() =>
        counts.gate !== 0 ? self : Effect.map(self, (value) => {
          counts.success++
          return value
        })
      )
  ],
  [
    "acquireUseRelease",
    "nothing",
    (self) => Effect.acquireUseRelease(Effect.void, () => self, (_, exit) => counting(exit))
  ],
  [
    "a finalizer of a scope",
    "nothing",
    (self) =>
      Effect.suspend(() => {
        const scope = Scope.makeUnsafe()
        return Effect.andThen(
          Scope.addFinalizerExit(scope, counting),
          Effect.onExit(self, (exit) => Scope.close(scope, exit))
        )
      })
  ]
]

const nanosOf = async (call: Call): Promise<number> => {
  const start = process.hrtime.bigint()
  for (let i = 0; i < CALLS; i++) await Effect.runPromise(call)
  return Number(process.hrtime.bigint() - start) / CALLS
}

const { effect } = succeeding
const ours = await inHand(await memory()).single!({ trip: "consecutive", failures: 5 }, succeeding)
for (let i = 0; i < 1000; i++) await ours.call()

const samples = ways.map((): Array<number> => [])
const calls = ways.map(([, , wrap]) => wrap(effect))
for (let round = 0; round < ROUNDS; round++) {
  for (const [i, call] of calls.entries()) samples[i]!.push(await nanosOf(call))
}
const bare = samples[0]!
for (const [i, [name, misses]] of ways.entries()) {
  const added = median(samples[i]!.map((nanos, round) => nanos - bare[round]!))
  console.log(`${name.padEnd(44)}${added.toFixed(0).padStart(5)} ns   misses ${misses}`)
}
