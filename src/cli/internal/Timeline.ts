/** A timeline of states, as an SVG image that needs nothing else. */
import type { Segment } from "./Replay.ts"
import { safe, spanOf, timeOf } from "./Text.ts"

export interface Row {
  readonly label: string
  readonly segments: ReadonlyArray<Segment>
  readonly note: string
}

const COLOURS = { Closed: "#2e9e5b", Open: "#d1373f", HalfOpen: "#d9a300" } as const

const WIDTH = 960
const LEFT = 190
const RIGHT = 20
const TOP = 48
const ROW = 44
const BAR = 20

/** Text of an element or of a quoted attribute. */
const escaped = (text: string): string =>
  safe(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\"", "&quot;")

const shortened = (text: string, most: number): string => text.length > most ? `${text.slice(0, most - 1)}…` : text

export const svgOf = (title: string, rows: ReadonlyArray<Row>, from: number, to: number): string => {
  const length = Math.max(1, to - from)
  const x = (at: number) => Math.round((LEFT + (WIDTH - LEFT - RIGHT) * (at - from) / length) * 10) / 10
  const height = TOP + rows.length * ROW + 40
  const row = ({ label, note, segments }: Row, index: number): string => {
    const y = TOP + index * ROW
    const bars = segments.map(({ from, state, to }) =>
      `<rect x="${x(from)}" y="${y}" width="${Math.max(0.5, x(to) - x(from))}" height="${BAR}" fill="${
        COLOURS[state]
      }"><title>${escaped(`${state} for ${spanOf(to - from)} from ${timeOf(from)}`)}</title></rect>`
    )
    return [
      `<text x="${LEFT - 10}" y="${y + 15}" text-anchor="end">${escaped(shortened(label, 24))}</text>`,
      ...bars,
      `<text x="${LEFT}" y="${y + BAR + 14}" class="note">${escaped(shortened(note, 120))}</text>`
    ].join("\n")
  }
  const legend = Object.entries(COLOURS).map(([state, colour], i) =>
    `<rect x="${LEFT + i * 110}" y="${height - 24}" width="12" height="12" fill="${colour}"/>` +
    `<text x="${LEFT + i * 110 + 18}" y="${height - 13}">${state}</text>`
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<title>${escaped(shortened(title, 200))}</title>
<style>text { font: 13px system-ui, sans-serif; fill: #333 } .note { font-size: 11px; fill: #777 }</style>
<rect width="100%" height="100%" fill="#fff"/>
<text x="${LEFT}" y="20">${escaped(shortened(title, 100))}</text>
<text x="${LEFT}" y="38" class="note">${timeOf(from)}</text>
<text x="${WIDTH - RIGHT}" y="38" text-anchor="end" class="note">${timeOf(to)}</text>
${rows.map(row).join("\n")}
${legend.join("\n")}
</svg>
`
}
