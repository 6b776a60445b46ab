import { Effect, Schedule } from "effect"

/** Waits for an event, however long that takes here, and does something before each look. */
export const until = <E>(
  what: string,
  holds: Effect.Effect<boolean, E>,
  before: Effect.Effect<unknown> = Effect.void
): Effect.Effect<void> =>
  Effect.andThen(before, holds).pipe(
    Effect.catch(() => Effect.succeed(false)),
    Effect.filterOrFail((holds) => holds, () => `not come: ${what}`),
    Effect.retry({ times: 300, schedule: Schedule.spaced("100 millis") }),
    Effect.asVoid,
    Effect.orDie
  )
