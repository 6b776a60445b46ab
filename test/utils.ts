/** Helpers that the tests of breakers share. */
import { assert } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Logger, References, Stream } from "effect"
import { Breaker, Storage } from "../src/index.ts"
import { messages } from "../src/internal/Messages.ts"

/** A breaker in the scope of the test, with a storage in the process's memory. */
export const make = <const P extends Breaker.Policy>(name: string, policy: P) =>
  Breaker.make(name, policy).pipe(Effect.provide(Storage.MemoryStorageLive))

export const makeKeyed = <const P extends Breaker.Policy & Breaker.KeyedOptions>(name: string, policy: P) =>
  Breaker.makeKeyed(name, policy).pipe(Effect.provide(Storage.MemoryStorageLive))

interface Wraps {
  readonly wrap: Breaker.Wrap<unknown, never>
}

/** Calls that fail, one after the other. Their errors are dropped. */
export const failTimes = (breaker: Wraps, times: number, error: unknown = "boom"): Effect.Effect<void> =>
  Effect.repeat(Effect.ignore(breaker.wrap(Effect.fail(error))), { times: times - 1 }).pipe(Effect.asVoid)

/** The error of a rejected call. Dies if the body runs. */
export const rejectionOf = <Err>(breaker: {
  readonly wrap: Breaker.Wrap<Err, never>
}): Effect.Effect<Breaker.BreakerOpenError> =>
  Effect.flip(breaker.wrap(Effect.die("the body of a rejected call ran"))).pipe(
    Effect.filterOrFail(
      (error): error is Err & Breaker.BreakerOpenError => error instanceof Breaker.BreakerOpenError
    ),
    Effect.orDie
  )

/** Subscribes to events at once. The effect it returns unsubscribes and yields the events so far. */
export const listen = (source: { readonly events: Stream.Stream<Breaker.Event> }) =>
  Effect.gen(function*() {
    const events: Array<Breaker.Event> = []
    const fiber = yield* source.events.pipe(
      Stream.runForEach((event) => Effect.sync(() => events.push(event))),
      Effect.forkChild({ startImmediately: true })
    )
    return Effect.gen(function*() {
      yield* untilQuiet
      yield* Fiber.interrupt(fiber)
      return events as ReadonlyArray<Breaker.Event>
    })
  })

/** More turns of Node's event loop than any test's fibers need before they all wait. */
const MOST_TURNS = 10_000

/** Immediates that belong to `untilQuiet` itself. `untilQuiet` does not wait for them. */
let waiting = 0

const immediates = (): number => process.getActiveResourcesInfo().filter((type) => type === "Immediate").length

/**
 * Waits until every fiber has ended or waits for the clock, for a promise, or for another fiber. Effect runs fibers in
 * Node's immediates, so no fiber can run while there is none. It does not wait for real input and output.
 */
export const untilQuiet: Effect.Effect<void> = Effect.callback((resume) => {
  let turns = 0
  let immediate: NodeJS.Immediate
  const wait = (): void => {
    waiting++
    immediate = setImmediate(() => {
      waiting--
      if (immediates() === waiting) resume(Effect.void)
      else if (++turns === MOST_TURNS) {
        resume(Effect.die(`fibers still run after ${MOST_TURNS} turns of the event loop`))
      } else wait()
    })
  }
  wait()
  return Effect.sync(() => {
    waiting--
    clearImmediate(immediate)
  })
})

/** An event in a few words. */
export const inBrief = (event: Breaker.Event): string => {
  switch (event._tag) {
    case "Transition":
      return `${event.from} > ${event.to}`
    case "Rejected":
      return `Rejected by ${event.by}`
    case "Override":
      return `${event.mode} ${event.change}`
    case "Lost":
      return `Lost ${event.count}`
    default:
      return event._tag
  }
}

export interface Reported {
  readonly level: string
  readonly message: string
  readonly cause: unknown
}

/** The texts of lines about changes of state, which have tests of their own and are noise in those of other lines. */
export const changesOfState: ReadonlyArray<string> = [
  messages.opened,
  messages.wouldHaveOpened,
  messages.halfOpened,
  messages.closed
].map(({ text }) => text)

/** Runs with a logger that keeps every line but those about changes of state, and with `UnhandledLogLevel` at `Warn`. */
export const withReports = <A, E, R>(
  f: (reports: ReadonlyArray<Reported>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const reports: Array<Reported> = []
    const logger = Logger.make<unknown, void>(({ cause, logLevel, message }) => {
      if (changesOfState.includes(String(message))) return
      reports.push({ level: logLevel, message: String(message), cause: Cause.squash(cause) })
    })
    return f(reports).pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.UnhandledLogLevel, "Warn")
    )
  })

/** The message of the defect that an effect died with. */
export const defectOf = (exit: Exit.Exit<unknown, unknown>): string => {
  assert.isTrue(Exit.hasDies(exit))
  return Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : ""
}
