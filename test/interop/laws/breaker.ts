/** What Effect documents of a `CircuitBreaker`, as laws. */
import { assert } from "@effect/vitest"
import { Cause, Data, Deferred, Duration, Effect, Exit, Fiber, Schedule, type Scope, Stream } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { type Law, reasonOf, type Time } from "./law.ts"

type Breaker = CircuitBreaker.CircuitBreaker
type OpenState = Extract<CircuitBreaker.State, { readonly _tag: "Open" }>

export interface Options {
  readonly tripPolicy: CircuitBreaker.TripPolicy
  readonly openDuration: Duration.Input | Schedule.Schedule<unknown, number>
  readonly maxOpenDuration?: Duration.Input
}

export interface Subject extends Time {
  readonly make: (options: Options) => Effect.Effect<Breaker, unknown, Scope.Scope>
}

export class Unavailable extends Data.TaggedError("Unavailable") {}

/** A breaker that opens with the second failure in a row, for three units. */
const twoFailures = (subject: Subject) =>
  subject.make({ tripPolicy: CircuitBreaker.consecutive(2), openDuration: 3 * subject.unitMillis })

const oneFailure = (subject: Subject, options: Partial<Options> = {}) =>
  subject.make({ tripPolicy: CircuitBreaker.consecutive(1), openDuration: 3 * subject.unitMillis, ...options })

export const fail = (breaker: Breaker, key = "a", times = 1) =>
  Effect.repeat(Effect.exit(breaker.execute(Effect.fail(new Unavailable()), { key })), { times: times - 1 })

const succeed = (breaker: Breaker, key = "a") => breaker.execute(Effect.succeed("ok"), { key })

const tag = (breaker: Breaker, key = "a") => Effect.map(breaker.state(key), ({ _tag }) => _tag)

/** What a probe decides is known once the store has confirmed it, which its call need not wait for. */
export const becomes = (subject: Subject, breaker: Breaker, state: Partial<CircuitBreaker.State>, key = "a") =>
  subject.until(
    `${key} is ${JSON.stringify(state)}`,
    Effect.map(
      Effect.orDie(breaker.state(key)),
      (now) => Object.entries(state).every(([field, value]) => Reflect.get(now, field) === value)
    )
  )

/** Starts a call that ends when it is told to. */
const start = (breaker: Breaker, key = "a") =>
  Effect.gen(function*() {
    const started = yield* Deferred.make<void>()
    const end = yield* Deferred.make<string, Unavailable>()
    const body = Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(end))
    const fiber = yield* Effect.forkScoped(Effect.exit(breaker.execute(body, { key })), { startImmediately: true })
    yield* Deferred.await(started)
    return {
      fiber,
      succeed: Effect.andThen(Deferred.succeed(end, "ok"), Fiber.join(fiber)),
      fail: Effect.andThen(Deferred.fail(end, new Unavailable()), Fiber.join(fiber))
    }
  })

/** The transitions from now on. */
const listen = (breaker: Breaker) =>
  Effect.gen(function*() {
    const seen: Array<CircuitBreaker.Transition> = []
    const fiber = yield* Effect.forkScoped(
      Stream.runForEach(breaker.transitions, (transition) => Effect.sync(() => seen.push(transition))),
      { startImmediately: true }
    )
    return { seen, fiber }
  })

const law = (name: string, check: Law<Subject>["check"]): Law<Subject> => ({ name, check })

export const laws: ReadonlyArray<Law<Subject>> = [
  law("the result of a call is its own: a value, an error, a defect", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* subject.make({ tripPolicy: CircuitBreaker.consecutive(9), openDuration: "1 minute" })
      assert.strictEqual(yield* succeed(breaker), "ok")
      assert.strictEqual(yield* Effect.succeed(1).pipe(breaker.execute({ key: "a" })), 1)
      assert.instanceOf(yield* Effect.flip(breaker.execute(Effect.fail(new Unavailable()), { key: "a" })), Unavailable)
      const died = yield* Effect.exit(breaker.execute(Effect.die("defect"), { key: "a" }))
      assert.deepStrictEqual(died, Exit.die("defect"))
    })),

  law("failures in a row open it; a success between them does not let them", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* twoFailures(subject)
      yield* fail(breaker)
      yield* succeed(breaker)
      yield* fail(breaker)
      assert.strictEqual(yield* tag(breaker), "Closed")
      yield* fail(breaker)
      assert.strictEqual(yield* tag(breaker), "Open")
      assert.strictEqual(yield* tag(breaker, "b"), "Closed")
      assert.strictEqual(yield* succeed(breaker, "b"), "ok")
    })),

  law(
    "a share of the last calls opens it, once there are enough of them; a success can be the last of them",
    (subject) =>
      Effect.gen(function*() {
        const tripPolicy = CircuitBreaker.rate({ threshold: 0.5, size: 4 })
        const breaker = yield* subject.make({ tripPolicy, openDuration: "1 minute" })
        yield* fail(breaker, "a", 2)
        yield* succeed(breaker)
        assert.strictEqual(yield* tag(breaker), "Closed")
        yield* succeed(breaker)
        assert.strictEqual(yield* tag(breaker), "Open")
        for (let n = 0; n < 5; n++) yield* succeed(breaker, "b")
        yield* fail(breaker, "b")
        assert.strictEqual(yield* tag(breaker, "b"), "Closed")
        yield* fail(breaker, "b")
        assert.strictEqual(yield* tag(breaker, "b"), "Open")
      })
  ),

  law("an open circuit rejects without running the call, and says for how long", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      yield* fail(breaker)
      const reason = yield* reasonOf(breaker.execute(Effect.die("it ran"), { key: "a" }))
      assert.strictEqual(reason._tag === "CircuitOpen" && reason.key, "a")
      const millis = Duration.toMillis((reason as CircuitBreaker.CircuitOpen).retryAfter)
      assert.isAbove(millis, 0)
      assert.isAtMost(millis, 3 * subject.unitMillis)
      yield* subject.advance(1)
      const state = yield* breaker.state("a")
      assert.deepInclude(state, { _tag: "Open", key: "a", consecutiveOpenings: 1 })
      assert.isAtMost(Duration.toMillis((state as OpenState).retryAfter), millis - subject.unitMillis / 2)
    })),

  law(
    "after the open time the next call is the probe, and others are rejected while it runs",
    (subject) =>
      Effect.gen(function*() {
        const breaker = yield* oneFailure(subject)
        yield* fail(breaker)
        yield* subject.advance(4)
        const over = yield* breaker.state("a")
        assert.deepStrictEqual(over, { _tag: "Open", key: "a", retryAfter: Duration.zero, consecutiveOpenings: 1 })
        const probe = yield* start(breaker)
        const reason = yield* reasonOf(succeed(breaker))
        assert.strictEqual(reason._tag === "CircuitHalfOpen" && reason.key, "a")
        const probing = yield* breaker.state("a")
        assert.deepStrictEqual(probing, { _tag: "HalfOpen", key: "a", probing: true, consecutiveOpenings: 1 })
        assert.deepStrictEqual(yield* probe.succeed, Exit.succeed("ok"))
        yield* becomes(subject, breaker, { _tag: "Closed" })
        assert.strictEqual(yield* succeed(breaker), "ok")
      })
  ),

  law("a probe that fails reopens", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      yield* fail(breaker)
      yield* subject.advance(4)
      yield* fail(breaker)
      yield* becomes(subject, breaker, { _tag: "Open", consecutiveOpenings: 2 })
      assert.strictEqual((yield* reasonOf(succeed(breaker)))._tag, "CircuitOpen")
    })),

  law("a probe that is interrupted, or that says nothing, frees its place", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      yield* fail(breaker)
      yield* subject.advance(4)
      const probe = yield* start(breaker)
      yield* Fiber.interrupt(probe.fiber)
      yield* becomes(subject, breaker, { _tag: "HalfOpen", probing: false })
      const ignoring = breaker.execute(Effect.fail(new Unavailable()), {
        key: "a",
        classify: () => CircuitBreaker.ignored
      })
      assert.instanceOf(yield* Effect.flip(ignoring), Unavailable)
      yield* becomes(subject, breaker, { _tag: "HalfOpen", probing: false })
      assert.strictEqual(yield* succeed(breaker), "ok")
      yield* becomes(subject, breaker, { _tag: "Closed" })
    })),

  law(
    "the n-th opening lasts the n-th delay of the schedule; the count survives a close, until it was closed as long",
    (subject) =>
      Effect.gen(function*() {
        const openDuration = Schedule.exponential(2 * subject.unitMillis)
        const breaker = yield* oneFailure(subject, { openDuration })
        const opens = (consecutiveOpenings: number, units: number) =>
          Effect.gen(function*() {
            yield* fail(breaker)
            yield* becomes(subject, breaker, { _tag: "Open", consecutiveOpenings })
            const { retryAfter } = (yield* breaker.state("a")) as OpenState
            assert.isAtMost(Duration.toMillis(retryAfter), units * subject.unitMillis)
            assert.isAbove(Duration.toMillis(retryAfter), units * subject.unitMillis / 2)
            yield* subject.advance(units + 1)
          })
        const closes = Effect.andThen(succeed(breaker), becomes(subject, breaker, { _tag: "Closed" }))
        yield* opens(1, 2)
        yield* opens(2, 4)
        yield* closes
        yield* opens(3, 8)
        yield* closes
        yield* subject.advance(9)
        yield* succeed(breaker)
        yield* opens(1, 2)
      })
  ),

  law("a hint only lengthens the open time, up to a maximum", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject, { maxOpenDuration: 20 * subject.unitMillis })
      const opened = (key: string, hintUnits: number) =>
        Effect.gen(function*() {
          const classify = () => CircuitBreaker.failure({ retryAfter: hintUnits * subject.unitMillis })
          yield* Effect.exit(breaker.execute(Effect.fail(new Unavailable()), { key, classify }))
          const reason = yield* reasonOf(succeed(breaker, key))
          assert.strictEqual(reason._tag, "CircuitOpen")
          return Math.ceil(Duration.toMillis((reason as CircuitBreaker.CircuitOpen).retryAfter) / subject.unitMillis)
        })
      assert.deepStrictEqual(
        [yield* opened("shorter", 1), yield* opened("longer", 10), yield* opened("too long", 100)],
        [3, 10, 20]
      )
    })),

  law("calls admitted before a trip run to their end, and change nothing", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      const [first, second] = [yield* start(breaker), yield* start(breaker)]
      yield* fail(breaker)
      assert.deepStrictEqual(yield* first.succeed, Exit.succeed("ok"))
      assert.deepInclude(yield* breaker.state("a"), { _tag: "Open", consecutiveOpenings: 1 })
      yield* subject.advance(4)
      yield* succeed(breaker)
      yield* becomes(subject, breaker, { _tag: "Closed" })
      yield* second.fail
      assert.strictEqual(yield* tag(breaker), "Closed")
    })),

  law("failures in a row count in the order of completion", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* twoFailures(subject)
      const slow = yield* start(breaker)
      yield* fail(breaker)
      yield* slow.succeed
      yield* fail(breaker)
      assert.strictEqual(yield* tag(breaker), "Closed")
    })),

  law("without classify a defect counts, and an interruption does not", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      const call = yield* start(breaker)
      yield* Fiber.interrupt(call.fiber)
      assert.strictEqual(yield* tag(breaker), "Closed")
      yield* Effect.exit(breaker.execute(Effect.die("defect"), { key: "a" }))
      assert.strictEqual(yield* tag(breaker), "Open")
    })),

  law(
    "classify decides, at once or by an effect, and is not asked for an interruption",
    (subject) =>
      Effect.gen(function*() {
        const breaker = yield* oneFailure(subject)
        const asked: Array<string> = []
        const as = (key: string, outcome: CircuitBreaker.Outcome) =>
          Effect.exit(breaker.execute(Effect.succeed(1), {
            key,
            classify: (exit) => {
              asked.push(`${key} ${exit._tag}`)
              return key === "effect" ? Effect.succeed(outcome) : outcome
            }
          }))
        yield* as("a", CircuitBreaker.failure())
        yield* as("effect", CircuitBreaker.failure())
        yield* as("ignored", CircuitBreaker.ignored)
        assert.deepStrictEqual([yield* tag(breaker), yield* tag(breaker, "effect"), yield* tag(breaker, "ignored")], [
          "Open",
          "Open",
          "Closed"
        ])
        const interrupted = breaker.execute(Effect.interrupt, { key: "b", classify: () => CircuitBreaker.failure() })
        yield* Effect.exit(interrupted)
        assert.strictEqual(yield* tag(breaker, "b"), "Closed")
        assert.deepStrictEqual(asked, ["a Success", "effect Success", "ignored Success"])
      })
  ),

  law("where classify fails the outcome is ignored, and the call dies", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      const dying = (call: Effect.Effect<string, Unavailable>, asEffect: boolean) =>
        Effect.exit(breaker.execute(call, {
          key: "a",
          classify: () => {
            if (asEffect) return Effect.die("classify")
            throw new Error("classify")
          }
        }))
      const succeeded = yield* dying(Effect.succeed("ok"), false)
      assert.isTrue(Exit.isFailure(succeeded) && Cause.hasDies(succeeded.cause))
      const failed = yield* dying(Effect.fail(new Unavailable()), true)
      assert.isTrue(Exit.isFailure(failed) && Cause.hasDies(failed.cause) && Cause.hasFails(failed.cause))
      assert.strictEqual(yield* tag(breaker), "Closed")
    })),

  law("a timeout inside of the breaker is a failure, one outside is ignored", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      const timedOut = (call: Effect.Effect<unknown, unknown>) =>
        Effect.gen(function*() {
          const fiber = yield* Effect.forkScoped(Effect.exit(call), { startImmediately: true })
          yield* subject.advance(2)
          yield* Fiber.join(fiber)
        })
      yield* timedOut(breaker.execute(Effect.timeout(Effect.never, subject.unitMillis), { key: "inside" }))
      yield* timedOut(Effect.timeout(breaker.execute(Effect.never, { key: "outside" }), subject.unitMillis))
      assert.deepStrictEqual([yield* tag(breaker, "inside"), yield* tag(breaker, "outside")], ["Open", "Closed"])
    })),

  law("transitions are those that happen while somebody listens", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      yield* fail(breaker, "before")
      const { seen } = yield* listen(breaker)
      yield* fail(breaker)
      yield* subject.until("it is shown as opened", Effect.sync(() => seen.length === 1))
      yield* subject.advance(4)
      yield* fail(breaker)
      yield* subject.until("it is shown as reopened", Effect.sync(() => seen.length === 3))
      yield* subject.advance(4)
      yield* succeed(breaker)
      yield* subject.until("it is shown as closed", Effect.sync(() => seen.length === 5))
      const edges = seen.map((transition) =>
        transition.to === "Open"
          ? [transition.key, transition.from, transition.to, transition.consecutiveOpenings]
          : [transition.key, transition.from, transition.to]
      )
      assert.deepStrictEqual(edges, [
        ["a", "Closed", "Open", 1],
        ["a", "Open", "HalfOpen"],
        ["a", "HalfOpen", "Open", 2],
        ["a", "Open", "HalfOpen"],
        ["a", "HalfOpen", "Closed"]
      ])
      const [opened] = seen
      const millis = Duration.toMillis((opened as Extract<typeof opened, { readonly to: "Open" }>).retryAfter)
      assert.isAtMost(millis, 3 * subject.unitMillis)
      assert.isAbove(millis, 2 * subject.unitMillis)
    })),

  law("an error is a schema, and says what the circuit is", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      yield* fail(breaker)
      const error = yield* Effect.flip(succeed(breaker))
      assert.instanceOf(error, CircuitBreaker.CircuitBreakerError)
      assert.strictEqual(error.message, "Circuit open")
      const caught = succeed(breaker).pipe(
        Effect.catchReason("CircuitBreakerError", "CircuitOpen", ({ key }) => Effect.succeed(`${key} is open`))
      )
      assert.strictEqual(yield* caught, "a is open")
    }))
]
