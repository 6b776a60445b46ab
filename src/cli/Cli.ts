/**
 * The command line `effect-breaker`: reads the circuits of any storage that processes share, and acts on them. `docs/command-line.md`
 * shows each command.
 *
 * **Details**
 *
 * - Output is a table for people, as wide as the terminal, without colours where there is no terminal or `NO_COLOR` is set; with
 *   `--json` it is one document of `Output`. Everything else goes to stderr. Names, reasons and evidence are shown with escapes in place
 *   of characters that control a terminal.
 * - `override`, `clear`, `half-open`, `reset`, `remove` and `import` ask first on a terminal, and show the circuit as it stands.
 *   Elsewhere they need `--yes`. One command acts on one circuit: there are no wildcards. A circuit without a record is refused, but for
 *   `override`, which asks.
 * - Reading writes nothing, and creates no file, table or directory.
 * - A driver is loaded only for the storage that is named.
 *
 * **Example** (A command line over a storage of your own)
 *
 * ```ts
 * import { Effect } from "effect"
 * import * as Cli from "effect-breaker/cli/Cli"
 * import * as RedisStorageLive from "effect-breaker/layers/RedisStorageLive"
 *
 * Effect.runFork(
 *   Effect.flatMap(
 *     Cli.run({ storage: RedisStorageLive.layer({ prefix: "shop:" }) }),
 *     (code) => Effect.sync(() => process.exit(code))
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Argument from "effect/cli/Argument"
import type * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { LogToStderr } from "effect/References"
import { readFileSync } from "node:fs"
import { nodeServices } from "../internal/drivers/NodeServices.ts"
import type { Storage } from "../Storage/Storage.ts"
import type * as ActModule from "./internal/Act.ts"
import { CliFailure, type ExitCode, exitCodes as codes } from "./internal/Failure.ts"
import {
  actorFlag,
  circuitArgument,
  durationFlag,
  prefixArgument,
  reasonFlag,
  shared,
  statesFlag
} from "./internal/Flags.ts"
import { type Flags, GivenStorage } from "./internal/Session.ts"
import { safe } from "./internal/Text.ts"

export type { Output } from "./Output.ts"

/**
 * How a command ends, for scripts. 3 and 4 say that nothing was done, or that nobody can say so: the message tells which.
 *
 * - `no`: what was asked is not so. `--fail-on` matched, the circuit does not exist, `health` found the storage sick.
 * - `usage`: the command line or the environment makes no sense, or a driver is not installed.
 * - `storage`: the storage did not answer.
 * - `refused`: by the command for want of `--yes`, or by the storage.
 *
 * @category constants
 * @since 0.1.0
 */
export const exitCodes = codes

/** Loads the module of a command when it runs, so that no other command waits for what it needs. */
const later = <M, A, E, R>(
  load: () => Promise<M>,
  use: (module: M) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Effect.flatMap(Effect.promise(load), use)

const root = Command.make("effect-breaker").pipe(
  Command.withDescription("Reads the circuits of a storage, and acts on them"),
  Command.withSharedFlags(shared)
)

const withFlags = <A, E, R>(use: (flags: Flags) => Effect.Effect<A, E, R>) => Effect.flatMap(root, use)

const ls = Command.make(
  "ls",
  {
    prefix: prefixArgument,
    states: statesFlag("state").pipe(
      Flag.withDescription(
        "Only circuits in one of these states: closed, open, half-open, forced-open, disabled, metrics-only"
      ),
      Flag.optional
    ),
    failOn: statesFlag("fail-on").pipe(
      Flag.withDescription("Exit with 1 if a circuit is in one of these states"),
      Flag.withDefault([])
    )
  },
  ({ failOn, prefix, states }) =>
    withFlags((flags) =>
      later(
        () => import("./internal/Ls.ts"),
        (module) => module.ls(flags, { prefix, states: Option.getOrUndefined(states), failOn })
      )
    )
).pipe(Command.withDescription("Lists circuits: state, override, what is left of it, since when, and why"))

const show = Command.make(
  "show",
  { circuit: circuitArgument },
  ({ circuit }) =>
    withFlags((flags) =>
      later(() => import("./internal/Show.ts"), (module) => module.show(flags, circuit, Effect.succeed(undefined)))
    )
).pipe(
  Command.withDescription("Shows a circuit: state, why, evidence, override, next probe, counts and its latest changes")
)

const history = Command.make(
  "history",
  {
    circuit: circuitArgument,
    limit: Flag.Int("limit").pipe(Flag.withDescription("The most changes. Default 20"), Flag.withDefault(20))
  },
  ({ circuit, limit }) =>
    withFlags((flags) => later(() => import("./internal/Show.ts"), (module) => module.history(flags, circuit, limit)))
).pipe(Command.withDescription("Lists the changes of a circuit, newest first: from what to what, who, why and when"))

const MODES = [["forced-open", "ForcedOpen"], ["disabled", "Disabled"], ["metrics-only", "MetricsOnly"]] as const

const override = Command.make(
  "override",
  {
    circuit: circuitArgument,
    mode: Flag.ChoiceWithValue("mode", MODES).pipe(
      Flag.withDescription("forced-open rejects every call, disabled admits every call, metrics-only admits and counts")
    ),
    reason: Flag.String("reason").pipe(Flag.withMetavar("text"), Flag.withDescription("Why, on one line")),
    actor: actorFlag,
    forMillis: durationFlag("for").pipe(
      Flag.withDescription("For how long: 10m, \"10 minutes\". Default: until it is cleared"),
      Flag.optional
    )
  },
  ({ actor, circuit, forMillis, mode, reason }) =>
    withFlags((flags) =>
      later(
        () => import("./internal/Act.ts"),
        (module) =>
          module.override(flags, circuit, { mode, reason, actor, forMillis: Option.getOrUndefined(forMillis) })
      )
    )
).pipe(Command.withDescription("Sets an operator's override on a circuit, in place of an earlier one"))

const acting = <const Name extends "clear" | "half-open" | "reset" | "remove">(
  name: Name,
  act: (
    module: typeof ActModule
  ) => (flags: Flags, circuit: string, by: ActModule.ActorFlag) => ReturnType<typeof ActModule.clear>
) =>
  Command.make(
    name,
    { circuit: circuitArgument, actor: actorFlag, reason: reasonFlag },
    ({ circuit, ...by }) =>
      withFlags((flags) => later(() => import("./internal/Act.ts"), (module) => act(module)(flags, circuit, by)))
  )

const clear = acting("clear", (module) => module.clear).pipe(Command.withDescription("Lifts the override of a circuit"))
const halfOpen = acting("half-open", (module) => module.halfOpen).pipe(
  Command.withDescription("Lets a circuit take probes at once")
)
const reset = acting("reset", (module) => module.reset).pipe(
  Command.withDescription("Closes a circuit and forgets its openings. An override stays")
)
const remove = acting("remove", (module) => module.remove).pipe(
  Command.withDescription("Forgets a circuit with its override and its counts")
)

const exporting = Command.make(
  "export",
  {
    prefix: prefixArgument,
    out: Flag.String("out").pipe(
      Flag.withAlias("o"),
      Flag.withMetavar("file"),
      Flag.withDescription("The file to write, which only its owner can read. Default: stdout"),
      Flag.optional
    )
  },
  ({ out, prefix }) =>
    withFlags((flags) => later(() => import("./internal/Archive.ts"), (module) => module.exportTo(flags, prefix, out)))
).pipe(Command.withDescription("Prints all circuits as one document, to import into any storage"))

const importing = Command.make(
  "import",
  {
    file: Argument.String("file").pipe(Argument.withDescription("A document of export")),
    prefix: Flag.String("prefix").pipe(
      Flag.withMetavar("text"),
      Flag.withDescription("Only circuits whose names begin with it"),
      Flag.withDefault("")
    ),
    dryRun: Flag.Boolean("dry-run").pipe(
      Flag.withDescription("Print what would be done, and write nothing"),
      Flag.withDefault(false)
    ),
    keep: Flag.Boolean("keep").pipe(
      Flag.withDescription("Leave circuits as they are that were ever changed and differ"),
      Flag.withDefault(false)
    ),
    actor: actorFlag
  },
  (options) =>
    withFlags((flags) => later(() => import("./internal/Archive.ts"), (module) => module.importFrom(flags, options)))
).pipe(Command.withDescription("Imports a document of export, and creates missing tables"))

const health = Command.make(
  "health",
  {},
  () => withFlags((flags) => later(() => import("./internal/Health.ts"), (module) => module.health(flags)))
).pipe(Command.withDescription("Writes a record of its own to the storage and reads it back"))

/**
 * The command, to run it in a program of your own, or as a subcommand of another one.
 *
 * @category commands
 * @since 0.1.0
 */
export const command = root.pipe(
  Command.withSubcommands([
    ls,
    show,
    history,
    override,
    clear,
    halfOpen,
    reset,
    remove,
    exporting,
    importing,
    health
  ])
)

const versionOf = (): string => {
  try {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
      version: string
    }
    return version
  } catch {
    // In a bundle there is no such file.
    return "unknown"
  }
}

/** What is wrong with the command line goes to stderr, with where to find help instead of the help itself. */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Console.error([
        ...event.errors.map(({ message }) => safe(message)),
        `See ${event.commandPath.join(" ")} --help`
      ].join("\n"))
      : CliOutput.defaultPresenter.present(event)
}

const codeOf = (error: CliFailure | CliError.CliError): Effect.Effect<ExitCode> => {
  if (error._tag !== "CliFailure") {
    // `effect-breaker` alone shows its help, and has not said what to do.
    return Effect.succeed(exitCodes.usage)
  }
  return error.text === undefined ? Effect.succeed(error.code) : Effect.as(Console.error(error.text), error.code)
}

/** An interrupt at a prompt, by Escape or Ctrl-C, or a reader of stdout that has gone. */
const INTERRUPTED = 130

/**
 * Runs the command line, and succeeds with its exit code. It never fails.
 *
 * `storage` is used in place of the storage that flags and environment name. `argv` are the arguments after the program's name; by
 * default those of the process. Where `@effect/platform-node` is not installed, a message names the command that installs it.
 *
 * @category running
 * @since 0.1.0
 */
export const run = (options: {
  readonly storage?: Layer.Layer<Storage, unknown> | undefined
  readonly argv?: ReadonlyArray<string> | undefined
} = {}): Effect.Effect<ExitCode | typeof INTERRUPTED> =>
  Effect.gen(function*() {
    const services = yield* Effect.mapError(nodeServices, (error) =>
      new CliFailure({ code: exitCodes.usage, text: error.message }))
    const argv = options.argv ?? process.argv.slice(2)
    yield* Command.runWith(command, { version: versionOf() })(argv).pipe(
      Effect.provideService(CliOutput.Presenter, presenter),
      Effect.provideService(GivenStorage, options.storage),
      Effect.provideService(LogToStderr, true),
      Effect.provide(services.layer)
    )
    return exitCodes.ok
  }).pipe(
    Effect.catch((error): Effect.Effect<ExitCode> =>
      codeOf(error)
    ),
    Effect.catchCause((cause): Effect.Effect<ExitCode | typeof INTERRUPTED> => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.succeed(INTERRUPTED)
      const error = Cause.squash(cause)
      // What an operator or a storage refuses of its options.
      if (error instanceof RangeError) return Effect.as(Console.error(safe(error.message)), exitCodes.usage)
      return Effect.as(
        Console.error(safe(error instanceof Error ? error.stack ?? error.message : String(error))),
        exitCodes.storage
      )
    })
  )
