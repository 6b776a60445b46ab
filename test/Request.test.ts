/** Requests with a deadline: at the deadline the caller stops waiting, even if the request still runs. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Exit, Latch, Scope, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { monotonicMillis } from "../src/internal/Clock.ts"
import { Deadlines } from "../src/internal/Deadlines.ts"
import { makeFork } from "../src/internal/Fork.ts"
import { MOST_ABANDONED, Requests } from "../src/internal/Request.ts"
import { StorageError } from "../src/Storage/Storage.ts"
import { ForeignStorageError } from "./support/storages.ts"
import { untilQuiet } from "./utils.ts"

const made = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const fork = makeFork(yield* Effect.context<never>())
  const queue = new Deadlines(50, () => monotonicMillis(clock), clock, fork)
  return { requests: new Requests(clock, fork), queue }
})

const name = { operation: "sync", circuit: "c" }

/** The reason and the cause of a failed request. */
const failureOf = (requests: Requests, request: () => Effect.Effect<unknown, StorageError>) =>
  Effect.map(Effect.flip(requests.effect(name, request, 50)), ({ cause, reason }) => [reason, cause])

const unending = Effect.uninterruptible(Effect.never)

describe("a request", () => {
  it.effect("a request that ends synchronously reports its exit synchronously and has nothing to cancel", () =>
    Effect.gen(function*() {
      const { queue, requests } = yield* made
      const exits: Array<unknown> = []
      const cancel = requests.run(Effect.succeed(1), queue, (exit) => exits.push(exit))
      assert.deepStrictEqual(exits, [Exit.succeed(1)])
      cancel()
      assert.strictEqual(requests.abandoned, 0)
    }))

  for (const kind of ["queue", "timer"] as const) {
    it.effect(`a request reports its exit once, before its deadline (${kind})`, () =>
      Effect.gen(function*() {
        const { queue, requests } = yield* made
        const exits: Array<unknown> = []
        requests.run(Effect.delay(Effect.fail("no"), 49), kind === "queue" ? queue : 50, (exit) => exits.push(exit))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(exits, [Exit.fail("no")])
      }))

    it.effect(`a request reports undefined at its deadline and is interrupted (${kind})`, () =>
      Effect.gen(function*() {
        const { queue, requests } = yield* made
        const events: Array<unknown> = []
        requests.run(
          Effect.onInterrupt(Effect.never, () => Effect.sync(() => events.push("interrupted"))),
          kind === "queue" ? queue : 50,
          (exit) => events.push(exit)
        )
        yield* TestClock.adjust("49 millis")
        assert.deepStrictEqual(events, [])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(events, ["interrupted", undefined])
        assert.strictEqual(requests.abandoned, 0)
      }))

    it.effect(`a request that is cancelled is interrupted, reports nothing, and leaves its deadline (${kind})`, () =>
      Effect.gen(function*() {
        const { queue, requests } = yield* made
        const events: Array<unknown> = []
        const cancel = requests.run(
          Effect.onInterrupt(Effect.never, () => Effect.sync(() => events.push("interrupted"))),
          kind === "queue" ? queue : 50,
          (exit) => events.push(exit)
        )
        cancel()
        cancel()
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(events, ["interrupted"])
      }))
  }

  it.effect("a request that ignores its interruption counts as abandoned until it ends", () =>
    Effect.gen(function*() {
      const { queue, requests } = yield* made
      const latch = yield* Latch.make()
      let reports = 0
      const request = Effect.uninterruptible(latch.await)
      const cancel = requests.run(request, queue, () => reports++)
      requests.run(request, queue, () => reports++)
      cancel()
      assert.strictEqual(requests.abandoned, 1)
      yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual([requests.abandoned, reports], [2, 1])
      yield* latch.open
      yield* untilQuiet
      assert.deepStrictEqual([requests.abandoned, reports], [0, 1])
    }))
})

describe("a request to a storage", () => {
  it.effect("a request to a storage fails with the storage's own error, also when that is of another copy of this library", () =>
    Effect.gen(function*() {
      const { requests } = yield* made
      for (const Copy of [StorageError, ForeignStorageError]) {
        const error = new Copy({ operation: "theirs", reason: "Denied", cause: "no" })
        assert.strictEqual(
          yield* Effect.flip(requests.effect(name, () => Effect.fail(error as StorageError), 50)),
          error
        )
      }
    }))

  it.effect("a request to a storage fails with Unavailable when the storage dies, throws, interrupts itself, or returns no effect", () =>
    Effect.gen(function*() {
      const { requests } = yield* made
      assert.deepStrictEqual(yield* failureOf(requests, () => Effect.die("bug")), ["Unavailable", "bug"])
      const bug = new Error("bug")
      const throws = () => {
        throw bug
      }
      assert.deepStrictEqual(yield* failureOf(requests, throws), ["Unavailable", bug])
      assert.strictEqual((yield* failureOf(requests, () => Effect.interrupt))[0], "Unavailable")
      assert.strictEqual((yield* failureOf(requests, () => Promise.resolve() as never))[0], "Unavailable")
    }))

  it.effect("a request to a storage fails with Deadline, the operation and the circuit when there is no answer in time", () =>
    Effect.gen(function*() {
      const { queue, requests } = yield* made
      const errors: Array<unknown> = []
      requests.send(name, () => Effect.never, queue, (result) => errors.push(result))
      yield* TestClock.adjust("50 millis")
      const error = new StorageError({ ...name, reason: "Deadline", cause: "no answer within 50 ms" })
      assert.deepInclude(errors[0], { _tag: "Failure" })
      assert.deepEqual((errors[0] as any).failure, error)
    }))

  it.effect("a request to a storage is not sent while 16 abandoned requests run, but after a pause that doubles with each further one", () =>
    Effect.gen(function*() {
      const { requests } = yield* made
      const sentAt: Array<number> = []
      const clock = yield* Clock.Clock
      const cause: Array<unknown> = []
      for (let second = 0; second < 30; second++) {
        const hangs = () => {
          sentAt.push(monotonicMillis(clock))
          return unending
        }
        requests.send(name, hangs, 50, (result) => result._tag === "Failure" && cause.push(result.failure.cause))
        yield* TestClock.adjust("1 second")
      }
      assert.strictEqual(sentAt.length, MOST_ABANDONED + 3)
      assert.deepStrictEqual(sentAt.slice(MOST_ABANDONED - 1), [15_000, 17_000, 20_000, 25_000])
      assert.strictEqual(cause.at(-1), "19 requests were interrupted and still run")
    }))
})

describe("a background fork", () => {
  it.effect("a background fork has neither the scope nor the span of the context it is made from", () =>
    Effect.gen(function*() {
      const fork = makeFork(yield* Effect.context<Scope.Scope>())
      let kept: Context.Context<never> | undefined
      fork(Effect.map(Effect.context<never>(), (context) => kept = context))
      assert.isTrue(Context.getOption(kept!, Scope.Scope)._tag === "None")
      assert.isTrue(Context.getOption(kept!, Tracer.ParentSpan)._tag === "None")
    }).pipe(Effect.scoped, Effect.withSpan("request")))

  it.effect("a background fork is interrupted when its scope closes, and at once when that is closed", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const fork = makeFork(yield* Effect.context<never>(), scope)
      const before = fork(Effect.never)
      yield* Scope.close(scope, Exit.void)
      yield* untilQuiet
      assert.isDefined(before.pollUnsafe())
      const after = fork(Effect.never)
      yield* untilQuiet
      assert.isDefined(after.pollUnsafe())
    }))
})
