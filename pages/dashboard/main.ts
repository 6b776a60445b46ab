/** The page of the dashboard. */
import type { Session } from "../../src/dashboard/internal/Feed.ts"
import { byId, h, setText } from "../shared/dom.ts"
import { visible } from "../shared/text.ts"
import { Connection, Refused } from "./connection.ts"
import { because } from "./describe.ts"
import { Detail } from "./detail.ts"
import { List } from "./list.ts"
import { Model, STATUS_NAMES, STATUSES } from "./model.ts"
import { drawOverview } from "./overview.ts"

const MOST_WAIT_MILLIS = 10_000

const model = new Model()
const connection = new Connection()
const detail = new Detail(connection)
const search = byId("search") as HTMLInputElement
const filter = byId("filter") as HTMLSelectElement
const tokenDialog = byId("token") as HTMLDialogElement
const tokenValue = byId("token-value") as HTMLInputElement
let session: Session | undefined

const open = (circuit: string): void => {
  const row = model.get(circuit)
  if (row !== undefined) detail.open(row, session)
}

const list = new List(open)
byId("list").append(list.count, list.element)
filter.append(...STATUSES.map((status) => h("option", { value: status }, STATUS_NAMES[status])))

const drawList = (): void => {
  const wanted = search.value.trim().toLowerCase()
  const rows = model.rows.filter(({ circuit, status }) =>
    (filter.value === "" || status === filter.value) && circuit.circuit.toLowerCase().includes(wanted)
  )
  list.show(rows, model.latest?.total ?? 0)
}

const draw = (): void => {
  const now = Date.now()
  drawOverview(model, now, open)
  drawList()
  const shown = detail.circuit === undefined ? undefined : model.get(detail.circuit)
  if (shown !== undefined) detail.draw(shown, now)
}

const wait = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

const offerToken = (): void => {
  byId("token-button").hidden = session !== undefined && !session.takesToken
}

const begin = async (): Promise<void> => {
  session = await connection.session()
  document.title = session.title
  setText(byId("title"), session.title)
  offerToken()
  await connection.events((update) => {
    setText(byId("connection"), "")
    const worse = model.update(update, Date.now())
    if (worse.length > 0) {
      const said = worse.slice(0, 3).map((row) =>
        `${visible(row.circuit.circuit)} is ${STATUS_NAMES[row.status].toLowerCase()}: ${because(row)}`
      )
      setText(byId("spoken"), said.join(". "))
    }
    draw()
  })
}

const run = async (): Promise<never> => {
  for (let attempt = 0;; attempt++) {
    const started = Date.now()
    try {
      await begin()
    } catch (error) {
      if (error instanceof Refused && error.status === 401) {
        connection.token = undefined
        offerToken()
        setText(byId("connection"), `A token is needed: ${visible(error.message)}`)
        setText(byId("token-result"), tokenValue.value === "" ? "" : visible(error.message))
        if (!tokenDialog.open) tokenDialog.showModal()
        await new Promise((resolve) => tokenDialog.addEventListener("close", resolve, { once: true }))
        continue
      }
      // A new token ends the events that were read with the old one.
      if (error instanceof DOMException && error.name === "AbortError") continue
      setText(byId("connection"), "The page is not connected to its server, and tries again.")
    }
    if (Date.now() - started > MOST_WAIT_MILLIS) attempt = 0
    await wait(Math.min(MOST_WAIT_MILLIS, 500 * 2 ** attempt))
  }
}

search.addEventListener("input", drawList)
filter.addEventListener("change", drawList)
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target instanceof HTMLInputElement || document.querySelector("dialog[open]")) return
  event.preventDefault()
  search.focus()
})
byId("token-button").addEventListener("click", () => tokenDialog.showModal())
byId("token-cancel").addEventListener("click", () => tokenDialog.close())
byId("token-form").addEventListener("submit", () => {
  connection.token = tokenValue.value.trim()
  connection.again()
})
// Times that count down move between updates, too.
setInterval(draw, 1000)
void run()
