/** The circuits that need attention, in the order in which a person on call asks for them. */
import type { LastChange } from "../../src/dashboard/internal/Feed.ts"
import { byId, h, setText } from "../shared/dom.ts"
import { clockTime, duration, visible } from "../shared/text.ts"
import { age, because, evidence, next, transition } from "./describe.ts"
import { isRefusing, type Model, type Row, STATUS_NAMES, STATUSES } from "./model.ts"

const MOST_CARDS = 50

const card = (row: Row, now: number, open: (circuit: string) => void): HTMLElement =>
  h(
    "li",
    { class: `card ${row.status}` },
    h("button", { class: "name", onclick: () => open(row.circuit.circuit) }, visible(row.circuit.circuit)),
    h("p", {}, h("span", { class: `status ${row.status}` }, STATUS_NAMES[row.status]), ` ${age(row, now)}`),
    h("p", { class: "why" }, because(row)),
    h("p", { class: "evidence" }, evidence(row.circuit.evidence)),
    h("p", { class: "next" }, next(row, now))
  )

const lineOf = (change: LastChange, model: Model, open: (circuit: string) => void): HTMLElement => {
  const at = Date.parse(change.at)
  const name = visible(change.circuit)
  // It may be forgotten, or one of those beyond the limit.
  const isKnown = model.get(change.circuit) !== undefined
  return h(
    "li",
    {},
    h("time", { datetime: change.at, title: new Date(at).toLocaleString() }, clockTime(at)),
    " ",
    isKnown
      ? h("button", { class: "name", onclick: () => open(change.circuit) }, name)
      : h("span", { class: "name" }, name),
    " ",
    h("span", { class: "why" }, transition(change, change.overrideBefore))
  )
}

const section = (id: string, items: ReadonlyArray<HTMLElement>): void => {
  byId(id).hidden = items.length === 0
  byId(`${id}-list`).replaceChildren(...items)
}

/** Draws everything above the list of all circuits. */
export const drawOverview = (model: Model, now: number, open: (circuit: string) => void): void => {
  const { latest, rows, storage } = model
  if (latest === undefined || storage === undefined) return
  const sick = rows.filter(({ status }) => status !== "closed")
  byId("attention-list").replaceChildren(...sick.slice(0, MOST_CARDS).map((row) => card(row, now, open)))
  const more = sick.length > MOST_CARDS ? ` The list below has the other ${sick.length - MOST_CARDS}.` : ""
  setText(byId("attention-note"), sick.length === 0 ? "Every circuit is closed." : more)
  section(
    "refusing",
    rows.filter((row) => isRefusing(row, now)).slice(0, MOST_CARDS).map((row) =>
      h(
        "li",
        {},
        h("button", { class: "name", onclick: () => open(row.circuit.circuit) }, visible(row.circuit.circuit)),
        ` ${next(row, now)}`
      )
    )
  )
  setText(
    byId("summary"),
    STATUSES.filter((status) => latest.statuses[status] > 0)
      .map((status) => `${latest.statuses[status]} ${STATUS_NAMES[status].toLowerCase()}`).join(", ") ||
      "no circuits yet"
  )
  section("changes", model.changes.map((change) => lineOf(change, model, open)))
  section(
    "isolated",
    latest.here.flatMap(({ circuit, isolated }) =>
      isolated === null ? [] : [h("li", {}, `${visible(circuit)}: ${visible(isolated)}`)]
    )
  )
  section(
    "drift",
    latest.here.flatMap(({ circuit, drift }) =>
      drift === null ? [] : [h("li", {}, `${visible(circuit)}: here ${drift.here}, in the fleet ${drift.fleet}`)]
    )
  )
  section(
    "unreadable",
    latest.unreadable.map(({ circuit, reason }) => h("li", {}, `${visible(circuit)}: ${visible(reason)}`))
  )
  const { backend, error, latencyMillis, reachable, since } = storage
  const badge = byId("storage")
  badge.className = reachable ? "ok" : "away"
  setText(
    badge,
    reachable
      ? `${backend} answers${latencyMillis === null ? "" : ` in ${Math.ceil(latencyMillis)} ms`}`
      : `${backend} has not answered since ${clockTime(Date.parse(since))}: ${visible(error ?? "")}`
  )
  setText(byId("age"), `as of ${duration(now - model.updatedAt)} ago`)
}
