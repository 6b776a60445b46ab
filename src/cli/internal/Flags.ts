/** The flags and arguments of commands. */
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { statesIn } from "./Words.ts"

const COMPACT = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)$/

const SHORT = { ms: "millis", s: "seconds", m: "minutes", h: "hours", d: "days", w: "weeks" } as const

/** Reads `10m`, `1.5h` and `10 minutes`. Throws a `RangeError` for anything else. */
const millisIn = (text: string): number => {
  const [, count, unit] = COMPACT.exec(text.trim()) ?? []
  const input = count === undefined ? text.trim() : `${count} ${SHORT[unit as keyof typeof SHORT]}`
  const duration = Duration.fromInput(input as Duration.Input)
  const millis = Option.isSome(duration) ? Duration.toMillis(duration.value) : Number.NaN
  if (Number.isFinite(millis) && millis > 0) return millis
  throw new RangeError(`${JSON.stringify(text.slice(0, 40))} is no duration: write 10m or "10 minutes"`)
}

const said = (error: unknown): string => error instanceof Error ? error.message : String(error)

export const durationFlag = (name: string): Flag.Flag<number> =>
  Flag.String(name).pipe(Flag.withMetavar("duration"), Flag.mapTryCatch(millisIn, said))

export const statesFlag = (name: string) =>
  Flag.String(name).pipe(Flag.withMetavar("states"), Flag.mapTryCatch(statesIn, said))

export const circuitArgument = Argument.String("circuit").pipe(
  Argument.withDescription("The whole name of a circuit. After -- it may begin with a dash")
)

export const prefixArgument = Argument.String("prefix").pipe(
  Argument.withDescription("Only circuits whose names begin with it"),
  Argument.withDefault("")
)

/** The flags of all commands. */
export const shared = {
  storage: Flag.String("storage").pipe(
    Flag.withMetavar("url"),
    Flag.withDescription(
      "Where the circuits are: redis:, rediss:, redis+cluster:, redis+sentinel:, postgres:, mysql:, mariadb:, sqlite:PATH or " +
        "file:DIRECTORY. Default: CIRCUIT_BREAKER_STORAGE, else what CIRCUIT_BREAKER_PERSISTENCE names"
    ),
    Flag.optional
  ),
  prefix: Flag.String("storage-prefix").pipe(
    Flag.withMetavar("text"),
    Flag.withDescription("The prefix of keys or tables, where the services give their storage one"),
    Flag.optional
  ),
  schema: Flag.String("storage-schema").pipe(
    Flag.withMetavar("name"),
    Flag.withDescription("The schema of the tables in Postgres, where the services give their storage one"),
    Flag.optional
  ),
  idle: durationFlag("storage-idle").pipe(
    Flag.withDescription("The idleTimeToLive that the services give their storage. Default 1h"),
    Flag.optional
  ),
  json: Flag.Boolean("json").pipe(Flag.withDescription("Print JSON"), Flag.withDefault(false)),
  yes: Flag.Boolean("yes").pipe(
    Flag.withAlias("y"),
    Flag.withDescription("Act without asking. Needed where there is no terminal"),
    Flag.withDefault(false)
  ),
  deadlineMillis: durationFlag("deadline").pipe(
    Flag.withDescription("The longest wait for an answer of the storage. Default 5s"),
    Flag.withDefault(5000)
  )
}

export const actorFlag = Flag.String("actor").pipe(
  Flag.withMetavar("name"),
  Flag.withDescription("Who acts, for the history. Default: EFFECT_BREAKER_ACTOR, else the user's name"),
  Flag.optional
)

export const reasonFlag = Flag.String("reason").pipe(
  Flag.withMetavar("text"),
  Flag.withDescription("Why, for the history, on one line"),
  Flag.optional
)
