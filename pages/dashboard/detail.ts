/** One circuit: its timeline, rates, history, and what may be done to it. */
import uPlot from "uplot"
import type { Output } from "../../src/cli/Output.ts"
import type { Act, Session } from "../../src/dashboard/internal/Feed.ts"
import { byId, h, setText } from "../shared/dom.ts"
import { visible } from "../shared/text.ts"
import type { Connection } from "./connection.ts"
import { age, because, consequence, evidence, next, transition, word } from "./describe.ts"
import { between, type Row, STATUS_NAMES } from "./model.ts"

const seriesOf = ({ samples }: Row): uPlot.AlignedData => {
  const steps = samples.slice(1).map((sample, i) => ({ at: sample.at / 1000, ...between(samples[i]!, sample) }))
  return [
    steps.map(({ at }) => at),
    steps.map(({ success }) => success),
    steps.map(({ failure }) => failure),
    steps.map(({ rejected }) => rejected)
  ]
}

/** A strip with a piece for each time that the state lasted. */
const timeline = ({ samples }: Row, now: number): ReadonlyArray<HTMLElement> => {
  const pieces: Array<{ status: Row["status"]; from: number; to: number }> = []
  for (const { at, status } of samples) {
    const last = pieces.at(-1)
    if (last !== undefined) last.to = at
    if (last?.status !== status) pieces.push({ status, from: at, to: now })
  }
  const last = pieces.at(-1)
  if (last !== undefined) last.to = now
  const whole = Math.max(1, now - (pieces[0]?.from ?? now))
  return pieces.map(({ from, status, to }) => {
    const piece = h("span", { class: `piece ${status}`, title: STATUS_NAMES[status] })
    piece.style.width = `${((to - from) / whole) * 100}%`
    return piece
  })
}

const fact = (name: string, value: string): ReadonlyArray<HTMLElement> =>
  value === "" ? [] : [h("dt", {}, name), h("dd", {}, value)]

export class Detail {
  readonly #connection: Connection
  readonly #dialog = byId("detail") as HTMLDialogElement
  readonly #plot: uPlot
  #row: Row | undefined
  #asked = ""

  constructor(connection: Connection) {
    this.#connection = connection
    const line = (label: string, stroke: string) => ({ label, stroke, width: 2 })
    this.#plot = new uPlot(
      {
        width: 560,
        height: 160,
        series: [
          {},
          line("successes/s", "#2e9d5b"),
          line("failures/s", "#d6453d"),
          line("rejections/s", "#8a63d2")
        ],
        axes: [{ stroke: "#888" }, { stroke: "#888" }]
      },
      [[], [], [], []],
      byId("rates")
    )
    byId("detail-close").addEventListener("click", () => this.#dialog.close())
    const form = byId("act") as HTMLFormElement
    form.addEventListener("change", () => this.#preview())
    form.addEventListener("submit", (event) => {
      event.preventDefault()
      void this.#act()
    })
  }

  get circuit(): string | undefined {
    return this.#dialog.open ? this.#row?.circuit.circuit : undefined
  }

  open(row: Row, session: Session | undefined): void {
    this.#row = row
    const form = byId("act") as HTMLFormElement
    form.reset()
    form.hidden = session?.may !== "act"
    byId("actor-field").hidden = session?.actor !== null
    setText(byId("act-result"), "")
    byId("history").replaceChildren()
    if (!this.#dialog.open) this.#dialog.showModal()
    this.draw(row, Date.now())
    this.#plot.setSize({ width: Math.max(200, byId("rates").clientWidth), height: 160 })
    void this.#history(row.circuit)
  }

  draw(row: Row, now: number): void {
    const stateChanged = this.#row?.circuit.generation !== row.circuit.generation || this.#row.status !== row.status
    this.#row = row
    const { circuit } = row
    const { failure, ignored, rejected, slow, success, times_opened: timesOpened, timeout } = circuit.lifetime
    setText(byId("detail-name"), visible(circuit.circuit))
    const status = byId("detail-status")
    status.className = `status ${row.status}`
    setText(status, STATUS_NAMES[row.status])
    byId("facts").replaceChildren(
      ...fact("Since", age(row, now)),
      ...fact("Why", because(row)),
      ...fact("Evidence", evidence(circuit.evidence)),
      ...fact("Next", next(row, now)),
      ...fact("Beneath the override", circuit.override === null ? "" : word(circuit.state)),
      ...fact("Openings in a row", String(circuit.openings)),
      ...fact("Policy", circuit.fingerprint ?? ""),
      ...fact(
        "Since it exists",
        `${success} successes, ${failure} failures (${timeout} timeouts), ${slow} slow, ${ignored} ignored, ` +
          `${rejected} rejected, opened ${timesOpened} times`
      )
    )
    byId("timeline").replaceChildren(...timeline(row, now))
    this.#plot.setData(seriesOf(row))
    if (stateChanged) {
      this.#preview()
      void this.#history(circuit)
    }
  }

  async #history({ circuit, generation }: Output.Circuit): Promise<void> {
    this.#asked = `${generation} ${circuit}`
    const asked = this.#asked
    const changes = await this.#connection.history(circuit).then((history) => history.changes, (error: Error) => error)
    if (this.#asked !== asked) return
    if (changes instanceof Error) return byId("history").replaceChildren(h("li", {}, visible(changes.message)))
    byId("history").replaceChildren(
      ...changes.map((change, i) =>
        h(
          "li",
          {},
          h("time", { datetime: change.at }, new Date(change.at).toLocaleString()),
          ` ${transition(change, changes[i + 1]?.override ?? null)}`
        )
      ),
      ...changes.length > 0
        ? []
        : [h("li", {}, "Nothing is remembered: this storage keeps no history, or nothing changed.")]
    )
  }

  #asAsked(): Act {
    const values = new FormData(byId("act") as HTMLFormElement)
    const text = (name: string) => {
      const value = values.get(name)
      return typeof value === "string" ? value.trim() : ""
    }
    const [act, mode] = text("what").split(":") as [Act["act"], Act["mode"]]
    const minutes = Number(text("minutes"))
    return {
      act,
      mode,
      actor: byId("actor-field").hidden ? undefined : text("actor"),
      reason: text("reason"),
      forMillis: act === "override" && minutes > 0 ? minutes * 60_000 : undefined
    }
  }

  #preview(): void {
    const asked = this.#asAsked()
    byId("override-fields").hidden = asked.act !== "override"
    if (this.#row !== undefined) setText(byId("consequence"), consequence(this.#row, asked))
  }

  async #act(): Promise<void> {
    const row = this.#row
    if (row === undefined) return
    const result = byId("act-result")
    setText(result, "…")
    const text = await this.#connection.act(row.circuit.circuit, this.#asAsked()).then(
      ({ done }) => done ? "Done." : "Nothing was done: it was so already, or it changed meanwhile.",
      (error: Error) => visible(error.message)
    )
    setText(result, text)
  }
}
