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
 * - `no`: what was asked is not so. `--fail-on` matched, the circuit does not exist, `health` found the storage sick, `config check` found
 *   problems, `migrate compare` found differences.
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

const fingerprintOf = (policy: Option.Option<string>, circuit: string) =>
  Option.match(policy, {
    onNone: () => Effect.undefined,
    onSome: (file) => later(() => import("./internal/PolicyFile.ts"), (module) => module.fingerprintOf(file, circuit))
  })

const show = Command.make(
  "show",
  {
    circuit: circuitArgument,
    policy: Flag.String("policy").pipe(
      Flag.withMetavar("file"),
      Flag.withDescription(
        "A policy or a configuration file, to tell whether its policy is the one that last changed the state"
      ),
      Flag.optional
    )
  },
  ({ circuit, policy }) =>
    withFlags((flags) =>
      Effect.flatMap(
        fingerprintOf(policy, circuit),
        (fingerprint) => later(() => import("./internal/Show.ts"), (module) => module.show(flags, circuit, fingerprint))
      )
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

const watch = Command.make(
  "watch",
  { prefix: prefixArgument },
  ({ prefix }) =>
    withFlags((flags) => later(() => import("./internal/Watch.ts"), (module) => module.watch(flags, prefix)))
).pipe(Command.withDescription("Follows circuits: a live table on a terminal, else a line for each change"))

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

const dashboard = Command.make(
  "dashboard",
  {
    port: Flag.Int("port").pipe(
      Flag.withDescription("The port. Default 4444; 0 is a free one"),
      Flag.withDefault(4444)
    ),
    host: Flag.String("host").pipe(
      Flag.withDescription("The address to listen on. Default 127.0.0.1, this machine alone"),
      Flag.withDefault("127.0.0.1")
    )
  },
  (options) =>
    withFlags((flags) => later(() => import("./internal/Dashboard.ts"), (module) => module.dashboard(flags, options)))
).pipe(Command.withDescription(
  "Serves the page of all circuits. CIRCUIT_BREAKER_DASHBOARD_TOKEN is the token of those who may act, " +
    "CIRCUIT_BREAKER_DASHBOARD_READ_TOKEN of those who may read"
))

const configCheck = Command.make(
  "check",
  { file: Argument.String("file") },
  ({ file }) =>
    withFlags((flags) => later(() => import("./internal/ConfigCheck.ts"), (module) => module.checkConfig(flags, file)))
).pipe(Command.withDescription("Prints every problem of a configuration file, or what each service would go by"))

const config = Command.make("config").pipe(
  Command.withDescription("Configuration files"),
  Command.withSubcommands([configCheck])
)

const record = Command.make(
  "record",
  {
    prefix: prefixArgument,
    everyMillis: durationFlag("every").pipe(
      Flag.withDescription("How often the counts are read. Default 1s"),
      Flag.withDefault(1000)
    ),
    forMillis: durationFlag("for").pipe(
      Flag.withDescription("For how long. Default: until it is interrupted"),
      Flag.optional
    )
  },
  ({ forMillis, ...options }) =>
    withFlags((flags) =>
      later(
        () => import("./internal/Record.ts"),
        (module) => module.record(flags, { ...options, forMillis: Option.getOrUndefined(forMillis) })
      )
    )
).pipe(Command.withDescription("Prints what happens to circuits as lines of JSON, for what-if"))

const whatIf = Command.make(
  "what-if",
  {
    circuit: Argument.String("circuit").pipe(
      Argument.withDescription("A circuit of the storage, or of the recording"),
      Argument.optional
    ),
    from: Flag.String("from").pipe(
      Flag.withMetavar("file"),
      Flag.withDescription(
        "A recording: lines of record, of single calls, or events of breakers. Default: what the storage remembers"
      ),
      Flag.optional
    ),
    policies: Flag.String("policy").pipe(
      Flag.withMetavar("file"),
      Flag.withDescription("A policy as JSON, YAML or TOML, or a configuration file. Several are shown side by side"),
      Flag.atLeast(0)
    ),
    svg: Flag.String("svg").pipe(
      Flag.withMetavar("file"),
      Flag.withDescription("Writes the timeline as an image, too"),
      Flag.optional
    )
  },
  ({ circuit, from, policies, svg }) =>
    withFlags((flags) =>
      later(() => import("./internal/WhatIf.ts"), (module) =>
        module.whatIf(flags, {
          circuit: Option.getOrUndefined(circuit),
          from: Option.getOrUndefined(from),
          policies,
          svg: Option.getOrUndefined(svg)
        }))
    )
).pipe(Command.withDescription("Replays recorded calls under other policies: when would the circuit have opened?"))

const schema = Command.make(
  "schema",
  { database: Argument.Literals("database", ["postgres", "mysql", "mariadb", "sqlite"]) },
  ({ database }) =>
    withFlags((flags) => later(() => import("./internal/Schema.ts"), (module) => module.schema(flags, database)))
).pipe(Command.withDescription("Prints the tables of circuits as SQL, for migrations of your own"))

const cleanUp = Command.make(
  "clean-up",
  {
    retention: durationFlag("retention").pipe(
      Flag.withDescription("How long changes are kept in the history of a database. Default 30d"),
      Flag.optional
    )
  },
  ({ retention }) =>
    withFlags((flags) => later(() => import("./internal/CleanUp.ts"), (module) => module.cleanUp(flags, retention)))
).pipe(Command.withDescription(
  "Deletes what a database keeps too long, and gives keys in Redis their expiry back. Give --storage-idle where services have it"
))

const migration = {
  to: Flag.String("to").pipe(Flag.withMetavar("url"), Flag.withDescription("The storage that circuits move to")),
  name: Flag.String("name").pipe(
    Flag.withMetavar("text"),
    Flag.withDescription("The name that the services give the migration")
  )
}

const PHASES = ["read-old-write-both", "read-both-write-both", "read-new-write-both", "read-new-write-new"] as const

const migrate = Command.make("migrate").pipe(
  Command.withDescription("Moves circuits from the storage to another one, in the phases of Storage/Migration"),
  Command.withSubcommands([
    Command.make(
      "phase",
      migration,
      (options) =>
        withFlags((flags) => later(() => import("./internal/Migrate.ts"), (module) => module.phase(flags, options)))
    ).pipe(
      Command.withDescription("Shows the phase that the instances are in")
    ),
    Command.make(
      "switch",
      { ...migration, phase: Argument.Literals("phase", PHASES) },
      ({ phase, ...options }) =>
        withFlags((flags) =>
          later(() => import("./internal/Migrate.ts"), (module) => module.switchTo(flags, options, phase))
        )
    ).pipe(Command.withDescription("Switches all instances to the phase before or after theirs")),
    Command.make(
      "backfill",
      migration,
      (options) =>
        withFlags((flags) => later(() => import("./internal/Migrate.ts"), (module) => module.backfill(flags, options)))
    ).pipe(
      Command.withDescription("Brings the storage that does not decide up to date")
    ),
    Command.make(
      "compare",
      migration,
      (options) =>
        withFlags((flags) => later(() => import("./internal/Migrate.ts"), (module) => module.compare(flags, options)))
    ).pipe(
      Command.withDescription("Compares all circuits of both storages. Exits with 1 if some differ")
    )
  ])
)

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
    watch,
    override,
    clear,
    halfOpen,
    reset,
    remove,
    exporting,
    importing,
    health,
    config,
    dashboard,
    record,
    whatIf,
    schema,
    cleanUp,
    migrate
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

/** A mistake in the command line goes to stderr, with where to find help instead of the help itself. */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Console.error([
        ...event.errors.map(({ message }) => safe(message.replaceAll(/\s*\n\s*\n\s*/g, ". ").replaceAll(/\s+/g, " "))),
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

/**
 * Runs the command line, and succeeds with its exit code. It never fails, and is interrupted where a prompt is.
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
} = {}): Effect.Effect<ExitCode> =>
  Effect.gen(function*() {
    const services = yield* Effect.mapError(nodeServices, (error) =>
      new CliFailure({ code: exitCodes.usage, text: error.cause.message }))
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
    Effect.catchCause((cause): Effect.Effect<ExitCode> => {
      // At a prompt, by Escape or Ctrl-C, or because a reader of stdout has gone.
      if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
      const error = Cause.squash(cause)
      // An operator or a storage has refused one of its options.
      if (error instanceof RangeError) return Effect.as(Console.error(safe(error.message)), exitCodes.usage)
      return Effect.as(
        Console.error(safe(error instanceof Error ? error.stack ?? error.message : String(error))),
        exitCodes.storage
      )
    })
  )
