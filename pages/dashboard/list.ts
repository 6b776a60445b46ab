/** All circuits, of which only the rows in sight are in the document, so that thousands of them cost no more than thirty. */
import { h, setText } from "../shared/dom.ts"
import { percent, rate, visible } from "../shared/text.ts"
import { because, next } from "./describe.ts"
import { ratesOf, type Row, STATUS_NAMES } from "./model.ts"

const ROW_PIXELS = 44
const SPARE_ROWS = 8

const failing = ({ failure, success }: { readonly failure: number; readonly success: number }): string =>
  failure === 0 ? "" : percent(failure / (failure + success))

export class List {
  readonly element: HTMLElement
  readonly #rows: HTMLElement
  readonly #count: HTMLElement
  readonly #open: (circuit: string) => void
  #shown: ReadonlyArray<Row> = []
  #active = 0
  #asked = 0

  constructor(open: (circuit: string) => void) {
    this.#open = open
    this.#count = h("p", { class: "count", role: "status" })
    this.#rows = h("div", { class: "rows", role: "presentation" })
    this.element = h("div", {
      class: "list",
      role: "grid",
      tabindex: 0,
      "aria-label": "All circuits",
      onscroll: () => this.#draw(),
      onkeydown: (event) => this.#key(event as KeyboardEvent)
    }, this.#rows)
    new ResizeObserver(() => this.#draw()).observe(this.element)
  }

  get count(): HTMLElement {
    return this.#count
  }

  show(rows: ReadonlyArray<Row>, total: number): void {
    this.#shown = rows
    this.#active = Math.min(this.#active, Math.max(0, rows.length - 1))
    this.element.setAttribute("aria-rowcount", String(rows.length))
    setText(this.#count, rows.length === total ? `${total} circuits` : `${rows.length} of ${total} circuits`)
    this.#draw()
  }

  #draw(): void {
    if (this.#asked !== 0) return
    this.#asked = requestAnimationFrame(() => {
      this.#asked = 0
      const { clientHeight, scrollTop } = this.element
      const from = Math.max(0, Math.floor(scrollTop / ROW_PIXELS) - SPARE_ROWS)
      const to = Math.min(this.#shown.length, Math.ceil((scrollTop + clientHeight) / ROW_PIXELS) + SPARE_ROWS)
      this.#rows.style.height = `${this.#shown.length * ROW_PIXELS}px`
      const now = Date.now()
      this.#rows.replaceChildren(...this.#shown.slice(from, to).map((row, i) => this.#row(row, from + i, now)))
    })
  }

  #row(row: Row, index: number, now: number): HTMLElement {
    const rates = ratesOf(row)
    const isActive = index === this.#active
    if (isActive) this.element.setAttribute("aria-activedescendant", `row-${index}`)
    const cell = (name: string, text: string) => h("span", { class: name, role: "gridcell" }, text)
    const element = h(
      "div",
      {
        id: `row-${index}`,
        class: isActive ? "row active" : "row",
        role: "row",
        "aria-rowindex": index + 1,
        onclick: () => {
          this.#active = index
          this.#open(row.circuit.circuit)
        }
      },
      cell("name", visible(row.circuit.circuit)),
      h("span", { class: `status ${row.status}`, role: "gridcell" }, STATUS_NAMES[row.status]),
      cell("why", [because(row), next(row, now)].filter((text) => text !== "").join(" · ")),
      cell("number", rate(rates.success + rates.failure)),
      cell("number", failing(rates))
    )
    element.style.top = `${index * ROW_PIXELS}px`
    return element
  }

  #key(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW_PIXELS) - 1)
    const steps: Record<string, number> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -this.#shown.length,
      End: this.#shown.length
    }
    const step = steps[event.key]
    const active = this.#shown[this.#active]
    if (step === undefined && event.key !== "Enter") return
    // Enter would also press the button that has the focus once the circuit is shown.
    event.preventDefault()
    if (step === undefined) {
      if (active !== undefined) this.#open(active.circuit.circuit)
      return
    }
    this.#active = Math.min(Math.max(0, this.#active + step), this.#shown.length - 1)
    const top = this.#active * ROW_PIXELS
    const { clientHeight, scrollTop } = this.element
    if (top < scrollTop) this.element.scrollTop = top
    else if (top + ROW_PIXELS > scrollTop + clientHeight) this.element.scrollTop = top + ROW_PIXELS - clientHeight
    this.#draw()
  }
}
