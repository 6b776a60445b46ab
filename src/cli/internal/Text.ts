/**
 * Text for a terminal, made of values that anybody may have written.
 *
 * **Invariants**
 *
 * - What `safe` and `jsonOf` return has no character that controls a terminal or the direction of the text around it.
 */
import * as CliOutput from "effect/cli/CliOutput"

/**
 * Control characters, line and paragraph separators, those that change the direction of text or have no width, and halves of
 * surrogate pairs.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029\u115f\u1160\u3164\uffa0]/gu

const escaped = (character: string): string => {
  const code = character.codePointAt(0)!
  return code <= 0xffff ? `\\u${code.toString(16).padStart(4, "0")}` : `\\u{${code.toString(16)}}`
}

/** The text on one line, with an escape sequence in place of each character that a terminal could obey. */
export const safe = (text: string): string => text.replace(UNSAFE, escaped)

/** JSON without such characters. Its strings decode to the same text. */
export const jsonOf = (value: unknown, indent?: number): string =>
  // Line breaks of the indentation stay, and every other control character is escaped by JSON itself.
  (JSON.stringify(value, undefined, indent) ?? "null").replace(UNSAFE, (character) =>
    character === "\n" ?
      character :
      Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`)
        .join(""))

const PLAIN = /^[ -~]*$/

const widthOf = (text: string): number => PLAIN.test(text) ? text.length : CliOutput.displayWidth(text)

/** The beginning of a text that takes at most so many columns. What is left out is shown by an ellipsis. */
export const cut = (text: string, columns: number): string => {
  // A character takes at most two columns, and a text beyond that need not be looked at.
  const short = text.length > columns * 4 + 100 ? text.slice(0, columns * 4 + 100) : text
  if (short.length === text.length && widthOf(short) <= columns) return short
  let kept = ""
  let width = 0
  for (const { segment } of new Intl.Segmenter().segment(short)) {
    width += widthOf(segment)
    if (width > columns - 1) break
    kept += segment
  }
  return columns < 1 ? "" : `${kept}…`
}

const padded = (text: string, columns: number): string => text + " ".repeat(Math.max(0, columns - widthOf(text)))

/** A column of a table: the narrowest it may become, and its cells' colours. */
export interface Column<Row> {
  readonly title: string
  readonly text: (row: Row) => string
  /** Columns with a `least` give way, in the order of the table, where the terminal is narrow. */
  readonly least?: number
  readonly paint?: (row: Row) => Paint | undefined
}

export type Paint = "red" | "yellow" | "green" | "cyan" | "dim" | "bold"

const CODES: Readonly<Record<Paint, string>> = { red: "31", yellow: "33", green: "32", cyan: "36", dim: "2", bold: "1" }

/** The text in a colour, where colours are wanted. */
export const painted = (text: string, paint: Paint | undefined, colours: boolean): string =>
  colours && paint !== undefined ? `\u001b[${CODES[paint]}m${text}\u001b[0m` : text

const GAP = 2

/** How wide each column is, so that these rows fit into so many columns of a terminal. */
export const widthsOf = <Row>(
  columns: ReadonlyArray<Column<Row>>,
  rows: ReadonlyArray<Row>,
  across: number
): ReadonlyArray<number> => {
  const widths = columns.map(({ text, title }) =>
    rows.reduce((widest, row) => Math.max(widest, widthOf(safe(text(row)))), widthOf(title))
  )
  let excess = widths.reduce((sum, width) => sum + width + GAP, -GAP) - across
  // The widest gives way first, because it is most likely one long text.
  while (excess > 0) {
    const shrinkable = columns.flatMap(({ least }, index) =>
      least !== undefined && widths[index]! > least ? [index] : []
    )
    if (shrinkable.length === 0) break
    const widest = shrinkable.reduce((a, b) => widths[b]! > widths[a]! ? b : a)
    const second = Math.max(...shrinkable.filter((index) => index !== widest).map((index) => widths[index]!), 0)
    const by = Math.max(1, Math.min(excess, widths[widest]! - Math.max(second, columns[widest]!.least!)))
    widths[widest]! -= by
    excess -= by
  }
  return widths
}

const lineOf = (cells: ReadonlyArray<string>): string => cells.join(" ".repeat(GAP)).trimEnd()

export const headerOf = <Row>(
  columns: ReadonlyArray<Column<Row>>,
  widths: ReadonlyArray<number>,
  colours: boolean
): string =>
  painted(
    lineOf(columns.map(({ title }, index) => padded(cut(title, widths[index]!), widths[index]!))),
    "bold",
    colours
  )

export const rowOf = <Row>(
  columns: ReadonlyArray<Column<Row>>,
  widths: ReadonlyArray<number>,
  row: Row,
  colours: boolean
): string =>
  lineOf(
    columns.map(({ paint, text }, index) =>
      painted(padded(cut(safe(text(row)), widths[index]!), widths[index]!), paint?.(row), colours)
    )
  )

// -----------------------------------------------------------------------------
// times
// -----------------------------------------------------------------------------

const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1000]] as const

/** A duration in its two largest units: `2m 5s`. */
export const spanOf = (millis: number): string => {
  if (millis < 1000) return `${Math.round(millis)}ms`
  const first = UNITS.findIndex(([, length]) => millis >= length)
  const [unit, length] = UNITS[first]!
  const next = UNITS[first + 1]
  const whole = Math.floor(millis / length)
  const rest = next === undefined ? 0 : Math.floor((millis - whole * length) / next[1])
  return rest === 0 || next === undefined ? `${whole}${unit}` : `${whole}${unit} ${rest}${next[0]}`
}

export const isoOf = (unixMillis: number): string => new Date(unixMillis).toISOString()

/** A time of day for people, in UTC, to the second. */
export const timeOf = (unixMillis: number): string => `${isoOf(unixMillis).slice(0, 19).replace("T", " ")}Z`
