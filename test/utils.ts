/** What the tests of breakers share. */
import { Cause, Effect, Fiber, Logger, References, Stream } from "effect"
import { Breaker, Storage } from "../src/index.ts"

/** A breaker in the scope of the test, on the memory of the process. */
export const make = <const P extends Breaker.Policy>(name: string, policy: P) =>
  Breaker.make(name, policy).pipe(Effect.provide(Storage.MemoryStorageLive))

export const makeKeyed = <const P extends Breaker.Policy & Breaker.KeyedOptions>(name: string, policy: P) =>
  Breaker.makeKeyed(name, policy).pipe(Effect.provide(Storage.MemoryStorageLive))

interface Wraps {
  readonly wrap: Breaker.Wrap<unknown, never>
}

/** Calls that fail, one after the other, whatever their caller gets. */
export const failTimes = (breaker: Wraps, times: number, error: unknown = "boom"): Effect.Effect<void> =>
  Effect.repeat(Effect.ignore(breaker.wrap(Effect.fail(error))), { times: times - 1 }).pipe(Effect.asVoid)

/** What a call that must be rejected fails with. */
export const rejectionOf = <Err>(breaker: {
  readonly wrap: Breaker.Wrap<Err, never>
}): Effect.Effect<Breaker.BreakerOpenError> =>
  Effect.flip(breaker.wrap(Effect.die("the body of a rejected call ran"))).pipe(
    Effect.filterOrFail(
      (error): error is Err & Breaker.BreakerOpenError => error instanceof Breaker.BreakerOpenError
    ),
    Effect.orDie
  )

/** Starts to listen at once; the effect it returns ends listening and says what was heard. */
export const listen = (source: { readonly events: Stream.Stream<Breaker.Event> }) =>
  Effect.gen(function*() {
    const heard: Array<Breaker.Event> = []
    const fiber = yield* source.events.pipe(
      Stream.runForEach((event) => Effect.sync(() => heard.push(event))),
      Effect.forkChild({ startImmediately: true })
    )
    return Effect.gen(function*() {
      yield* settle
      yield* Fiber.interrupt(fiber)
      return heard as ReadonlyArray<Breaker.Event>
    })
  })

/** Lets every fiber that can run do so. */
export const settle: Effect.Effect<void> = Effect.repeat(Effect.yieldNow, { times: 50 }).pipe(Effect.asVoid)

/** A few words for each event. */
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

/** Runs with a logger that keeps what nobody is there to hear, and with `UnhandledLogLevel` at `Warn`. */
export const withReports = <A, E, R>(
  f: (reports: ReadonlyArray<Reported>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const reports: Array<Reported> = []
    const logger = Logger.make<unknown, void>(({ cause, logLevel, message }) => {
      reports.push({ level: logLevel, message: String(message), cause: Cause.squash(cause) })
    })
    return f(reports).pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.UnhandledLogLevel, "Warn")
    )
  })
