/**
 * The operator's view: on a terminal a picture that is redrawn in place, elsewhere a line for each event and a summary
 * every 5 seconds.
 */
import { Config, Console, Duration, Effect, Layer, Option, Ref, Schedule, Stdio, Stream, Terminal } from "effect"
import { HttpServer } from "effect/http"
import type { Breaker } from "../../src/index.ts"
import { Journal, stateInWords, timeOfDay } from "./Journal.ts"
import { type Answers, type Report, report } from "./Report.ts"
import { curls } from "./Routes.ts"
import { percent, readings } from "./Shop.ts"
import { inWords } from "./Upstream.ts"

export interface Line {
  readonly text: string
  readonly color?: Color | undefined
}

type Color = keyof typeof colors
type Circuit = Report["circuits"][number]

// -----------------------------------------------------------------------------
// the picture
// -----------------------------------------------------------------------------

/** Fills the rows of the terminal; the log gets the rows that are left. */
export const picture = (input: {
  readonly url: string
  readonly time: string
  readonly report: Report
  readonly happened: ReadonlyArray<string>
  readonly rows: number
}): ReadonlyArray<Line> => {
  const { circuits, upstream } = input.report
  const above: ReadonlyArray<Line> = [
    { text: `Gateway on ${input.url}, ${input.time}. Ctrl-C stops it.`, color: "bold" },
    { text: `The upstream is ${inWords[upstream]}.`, color: upstream === "healthy" ? undefined : "red" },
    { text: "" },
    ...circuits.flatMap(circuitLines),
    { text: "LAST 10 SECONDS     OK  FAILED  TIMED OUT  REFUSED  SERVED    MEDIAN   SLOWEST", color: "bold" },
    ...circuits.map(({ answers, snapshot }) => ({ text: answersRow(snapshot.circuit, answers) })),
    { text: "" }
  ]
  const below = ["", ...curls(input.url)].map((text) => ({ text }))
  const room = Math.max(1, input.rows - above.length - below.length)
  const happened = Array.from({ length: room }, (_, i) => ({ text: input.happened.slice(-room)[i] ?? "" }))
  return [...above, ...happened, ...below].slice(0, input.rows)
}

const circuitLines = ({ snapshot }: Circuit): ReadonlyArray<Line> => [
  {
    text: `${snapshot.circuit}  ${stateInWords[snapshot.state].padEnd(9)}  ${doing(snapshot)}`,
    color: colorOf(snapshot)
  },
  {
    text: `        ${snapshot.state === "Closed" ? readings[snapshot.circuit]?.(snapshot) : `because ${snapshot.why}`}`
  }
]

const colorOf = ({ shed, state }: Breaker.Snapshot): Color =>
  state === "Closed" && shed === 0 ? "green" : state === "Open" ? "red" : "yellow"

const doing = ({ retryAfter, shed, state }: Breaker.Snapshot): string => {
  switch (state) {
    case "Closed":
      return shed === 0 ? "calls go through" : `${percent(shed)} of the calls are refused, so that the others succeed`
    case "Open":
      return `calls are refused, one is tried in ${Math.ceil(Duration.toSeconds(retryAfter ?? Duration.zero))} s`
    case "HalfOpen":
      return "one call is being tried, the others are refused"
  }
}

const answersRow = (
  circuit: string,
  { failed, medianMillis, ok, refused, served, slowestMillis, timedOut }: Answers
): string =>
  [
    circuit.padEnd(16),
    String(ok).padStart(6),
    String(failed).padStart(8),
    String(timedOut).padStart(11),
    String(refused).padStart(9),
    percent(served).padStart(8),
    inMillis(medianMillis).padStart(10),
    inMillis(slowestMillis).padStart(10)
  ].join("")

const inMillis = (millis: number | undefined): string => millis === undefined ? "-" : `${millis} ms`

// -----------------------------------------------------------------------------
// on a terminal
// -----------------------------------------------------------------------------

const colors = { red: 31, yellow: 33, green: 32, bold: 1 }

/**
 * The output that draws a picture on a terminal. Long lines are cut, because a wrapped one would push the rest down.
 */
const draw = (lines: ReadonlyArray<Line>, columns: number, colorful: boolean): string =>
  "\x1b[H" + lines.map(({ color, text }) => {
    const cut = text.slice(0, columns)
    return (color === undefined || !colorful ? cut : `\x1b[${colors[color]}m${cut}\x1b[0m`) + "\x1b[K"
  }).join("\r\n") + "\x1b[J"

const enterScreen = "\x1b[?1049h\x1b[?25l"
const leaveScreen = "\x1b[?25h\x1b[?1049l"

const onTerminal = Effect.gen(function*() {
  const terminal = yield* Terminal.Terminal
  const display = (text: string) => Effect.ignore(terminal.display(text))
  const colorful = yield* Config.option(Config.String("NO_COLOR")).pipe(Effect.map(Option.isNone))
  const url = yield* HttpServer.addressFormattedWith(Effect.succeed)
  const happened = yield* Ref.make<ReadonlyArray<string>>([])
  const { lines } = yield* Journal

  yield* lines.pipe(
    Stream.runForEach((line) => Ref.update(happened, (lines) => [...lines.slice(-99), line])),
    Effect.forkScoped
  )
  const redraw = Effect.gen(function*() {
    // A terminal that does not know its size reports 0.
    const columns = (yield* terminal.columns) || 80
    const rows = (yield* terminal.rows) || 24
    const lines = picture({
      url,
      time: yield* timeOfDay,
      report: yield* report,
      happened: yield* Ref.get(happened),
      rows
    })
    yield* display(draw(lines, columns, colorful))
  })
  yield* Effect.acquireRelease(
    display(enterScreen),
    // Back to the main screen, where the log stays visible.
    () =>
      Effect.andThen(
        display(leaveScreen),
        Effect.flatMap(Ref.get(happened), Effect.forEach((line) => Console.log(line), { discard: true }))
      )
  )
  yield* redraw.pipe(Effect.repeat(Schedule.spaced("200 millis")), Effect.forkScoped)
})

// -----------------------------------------------------------------------------
// elsewhere
// -----------------------------------------------------------------------------

const inLines = Effect.gen(function*() {
  const { lines } = yield* Journal
  const url = yield* HttpServer.addressFormattedWith(Effect.succeed)
  yield* Console.log([`Gateway on ${url}. Ctrl-C stops it.`, ...curls(url), ""].join("\n"))
  const summaries = Stream.fromSchedule(Schedule.spaced("5 seconds")).pipe(Stream.mapEffect(() => summary))
  yield* Stream.merge(lines, summaries).pipe(Stream.runForEach(Console.log), Effect.forkScoped)
})

const summary = Effect.gen(function*() {
  const { circuits, upstream } = yield* report
  return [`${yield* timeOfDay}  last 10 s, upstream ${upstream}`, ...circuits.map(circuitSummary)].join(" | ")
})

const circuitSummary = ({ answers, snapshot: { circuit, shed, state } }: Circuit): string =>
  `${circuit} ${stateInWords[state]}${
    shed === 0 ? "" : `, sheds ${percent(shed)}`
  }: ${answers.ok} ok, ${answers.failed} failed, `
  + `${answers.timedOut} timed out, ${answers.refused} refused, ${percent(answers.served)} served, median ${
    inMillis(answers.medianMillis)
  }`

export const Screen = Layer.effectDiscard(
  Stdio.Stdio.use(({ stdoutIsTerminal }) =>
    Effect.flatMap(stdoutIsTerminal, (isTerminal) => isTerminal ? onTerminal : inLines)
  )
)
