/** A storage may answer anything: no answer stops a breaker, and it follows the fleet again once the answers make sense. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { Breaker, Storage as Storages, Trip } from "../src/index.ts"
import * as Operator from "../src/Operator.ts"
import { type Snapshot, Storage, type StorageError, type Synced } from "../src/Storage/Storage.ts"

type Twist = (snapshot: Snapshot) => unknown

/** The storage in memory, whose snapshots are twisted while `now` says so. */
const twisting = (now: { twist: Twist | undefined }) =>
  Layer.effect(
    Storage,
    Effect.map(Storage, (storage): Storage => {
      const twisted = <A extends { readonly snapshot: Snapshot }>(answer: A): A =>
        now.twist === undefined ? answer : { ...answer, snapshot: now.twist(answer.snapshot) as Snapshot }
      const result = (answer: Synced["result"]) => Result.map(answer, twisted)
      return {
        ...storage,
        sync: (reports) =>
          Effect.map(storage.sync(reports), (all) => all.map((one) => ({ ...one, result: result(one.result) }))),
        change: (circuit, change) => Effect.map(storage.change(circuit, change), twisted),
        probe: (circuit, probe) => Effect.map(storage.probe(circuit, probe), twisted),
        changes: Stream.map(storage.changes, (announcement) =>
          announcement._tag === "Changed" && announcement.snapshot !== undefined
            ? twisted(announcement as never)
            : announcement)
      }
    })
  ).pipe(Layer.provide(Storages.MemoryStorageLive))

const HOSTILE: ReadonlyArray<unknown> = [undefined, null, {}, [], [null], "x", NaN, -1, Infinity, 1e300, true]

const FIELDS = [
  "format",
  "generation",
  "asOf",
  "state",
  "elapsed",
  "openings",
  "openFor",
  "override",
  "hint",
  "why",
  "fingerprint",
  "lifetime",
  "totals",
  "streak",
  "alert",
  "members"
] as const

const PARTS: ReadonlyArray<readonly [name: string, twist: Twist]> = [
  ...FIELDS.flatMap((field) =>
    HOSTILE.map((
      value
    ): readonly [string, Twist] => [`${field} is ${inspect(value)}`, (s) => ({ ...s, [field]: value })])
  ),
  ...HOSTILE.map((value): readonly [string, Twist] => [`all is ${inspect(value)}`, () => value]),
  ...["success", "failure", "slow", "shed"].flatMap((field) =>
    HOSTILE.map((value): readonly [string, Twist] => [
      `totals.${field} is ${inspect(value)}`,
      (s) => ({ ...s, totals: s.totals.map((counts) => ({ ...counts, [field]: value })) })
    ])
  ),
  ...["kind", "reason", "actor", "remaining"].flatMap((field) =>
    HOSTILE.map((value): readonly [string, Twist] => [
      `override.${field} is ${inspect(value)}`,
      (s) => ({
        ...s,
        generation: s.generation + 1,
        override: { kind: "ForcedOpen", reason: "r", actor: "a", remaining: 1000, [field]: value }
      })
    ])
  ),
  ...["reason", "actor", "evidence"].flatMap((field) =>
    HOSTILE.map((value): readonly [string, Twist] => [
      `why.${field} is ${inspect(value)}`,
      (s) => ({
        ...s,
        generation: s.generation + 1,
        state: { _tag: "Open", remaining: 1000 },
        why: { reason: "r", [field]: value }
      })
    ])
  ),
  ...["live", "successes", "failures", "nextLapse", "probesIn"].flatMap((field) =>
    HOSTILE.map((value): readonly [string, Twist] => [
      `state.${field} is ${inspect(value)}`,
      (s) => ({
        ...s,
        generation: s.generation + 1,
        state: { _tag: "HalfOpen", live: 0, successes: 0, [field]: value }
      })
    ])
  )
]

const policy = {
  trip: Trip.failureRate({ threshold: 0.5, within: "1 minute", minimumCalls: 20 }),
  throttle: {},
  openFor: "10 seconds",
  evidence: "pooled",
  reports: "every interval"
} as const

describe.each([
  ["local", policy],
  ["fresh", { ...policy, consistency: { maxAge: "1 second" }, onStorageError: "fail" } as const]
])("a storage that answers nonsense, %s", (_, policy) => {
  it.effect.each(PARTS)("%s", ([, twist]) => {
    const now: { twist: Twist | undefined } = { twist: undefined }
    return Effect.gen(function*() {
      const breaker = yield* Breaker.make("payments", policy)
      const call = (ok: boolean) => Effect.exit(breaker.wrap(ok ? Effect.succeed(1) : Effect.fail("down")))
      for (let i = 0; i < 4; i++) yield* call(i > 0)
      yield* TestClock.adjust("2 seconds")
      now.twist = twist
      for (let i = 0; i < 4; i++) {
        const fiber = yield* Effect.forkChild(call(i % 2 === 0))
        yield* TestClock.adjust("1 milli")
        const exit = fiber.pollUnsafe()
        // The storage answers at once.
        assert.isDefined(exit)
        const ended = yield* exit!
        assert.isFalse(Exit.isFailure(ended) && Cause.hasDies(ended.cause), String(ended))
        yield* TestClock.adjust("1 second")
      }
      yield* breaker.snapshot
      now.twist = undefined
      yield* TestClock.adjust("5 seconds")
      yield* breaker.clearOverride({ actor: "ann" })
      yield* breaker.reset
      assert.strictEqual((yield* call(true))._tag, "Success")
      yield* TestClock.adjust("2 seconds")
      const { fleet, state, statistics } = yield* breaker.snapshot
      assert.deepStrictEqual([state, fleet?.reachable], ["Closed", true])
      assert.isTrue(Number.isSafeInteger(statistics.success))
    }).pipe(Effect.provide(twisting(now)))
  })
})

describe("an operator of a storage that answers nonsense", () => {
  it.effect.each(PARTS)("%s", ([, twist]) => {
    const now: { twist: Twist | undefined } = { twist: undefined }
    return Effect.gen(function*() {
      const operator = yield* Operator.make()
      yield* operator.override("payments", { mode: "Disabled", reason: "moving", actor: "ann", create: true })
      now.twist = twist
      const acts = [
        operator.get("payments", { withins: ["1 minute"] }),
        Stream.runCollect(operator.list()),
        operator.reset("payments", { actor: "ann" })
      ]
      for (const act of acts) {
        const ended = yield* Effect.exit(act as Effect.Effect<unknown, StorageError>)
        assert.isFalse(Exit.isFailure(ended) && Cause.hasDies(ended.cause), String(ended))
      }
    }).pipe(Effect.provide(twisting(now)))
  })

  it.effect("an act that the storage says it has not done is refused", () =>
    Effect.gen(function*() {
      const storage = yield* Storage
      const operator = yield* Operator.make().pipe(Effect.provideService(Storage, {
        ...storage,
        change: (circuit, change) =>
          Effect.map(storage.change(circuit, change), (changed) => ({ ...changed, committed: false }))
      }))
      const override = { mode: "Disabled", reason: "moving", actor: "ann", create: true } as const
      assert.strictEqual((yield* Effect.flip(operator.override("payments", override))).reason, "Denied")
    }).pipe(Effect.provide(Storages.MemoryStorageLive)))
})
