/** The interactive page: what breakers do while you make their upstream slow or sick, kill the storage, and stop an instance. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { noDelta } from "../../src/core/Delta.ts"
import type { Snapshot } from "../../src/Event.ts"
import { byId, h, setText } from "../shared/dom.ts"
import { clockTime, duration, percent } from "../shared/text.ts"
import { CIRCUIT, type Instance, type Settings, World } from "./world.ts"

const form = byId("settings") as HTMLFormElement

const settings = (): Settings => {
  const values = new FormData(form)
  return {
    failing: Number(values.get("failing")) / 100,
    capacity: Number(values.get("capacity")),
    latencyMillis: Number(values.get("latency")),
    callsPerSecond: Number(values.get("calls")),
    trip: values.get("trip") as Settings["trip"],
    throttle: Number(values.get("throttle")) || undefined,
    openForSeconds: Number(values.get("open-for")),
    evidence: values.get("evidence") === "any" ? "any" : "pooled"
  }
}

const world = new World(settings())

const chip = (state: string) => h("span", { class: `status ${state}` }, state)

const windowText = (snapshot: Snapshot): string =>
  snapshot.windows.map(({ calls, failureRate, failures }) =>
    `${failures} of ${calls} calls failed in the window (${percent(failureRate)})`
  ).join(", ") || `${snapshot.statistics.consecutiveFailures} consecutive failures`

const instanceCard = (instance: Instance): ReadonlyArray<Node | string> => {
  const breaker = instance.breaker
  if (breaker === undefined) return []
  const snapshot = Effect.runSync(breaker.snapshot)
  const { fleet } = snapshot
  const wait = snapshot.retryAfter === undefined
    ? ""
    : `next probe in ${duration(Duration.toMillis(snapshot.retryAfter))}`
  const lines = [
    snapshot.isolated ? "rejects on its own evidence alone" : "",
    snapshot.shed > 0 ? `sheds ${percent(snapshot.shed)} of the calls` : "",
    snapshot.why ?? "",
    wait,
    snapshot.whyNot ?? "",
    windowText(snapshot),
    fleet === undefined
      ? ""
      : fleet.reachable
      ? `of the fleet it knows: ${fleet.state}, ${fleet.whyNot ?? fleet.why ?? ""}`
      : `the storage does not answer: it decides alone, and ${fleet.waiting} outcomes wait`
  ]
  return [
    h("p", {}, chip(snapshot.state), instance.isPaused ? " stands still" : ""),
    ...lines.filter((line) => line !== "").map((line) => h("p", {}, line)),
    h("p", { class: "calls" }, ...instance.calls.map((call) => h("i", { class: call, title: call })))
  ]
}

const storageCard = (): ReadonlyArray<Node | string> => {
  if (world.isStorageDead) return [h("p", {}, chip("Dead"), " it remembers everything, and answers nobody")]
  const reading = { circuit: CIRCUIT, instance: "page", sequence: 0, generation: 0, delta: noDelta, withins: [10_000] }
  const [synced] = Effect.runSync(world.storage.sync([reading]))
  if (synced?.result._tag !== "Success") return []
  const { elapsed, generation, state, streak, totals: [total], why } = synced.result.success.snapshot
  const lines = [
    `generation ${generation}${elapsed === undefined ? "" : `, for ${duration(elapsed)}`}`,
    why === undefined ? "" : why.reason,
    state._tag === "Open" ? `takes a probe in ${duration(state.remaining)}` : "",
    state._tag === "HalfOpen" ? `${state.live} probe under a lease, ${state.successes} succeeded` : "",
    `the fleet's streak: ${streak}`,
    total === undefined ? "" : `last 10 s: ${total.success} succeeded, ${total.failure} failed`
  ]
  return [h("p", {}, chip(state._tag)), ...lines.filter((line) => line !== "").map((line) => h("p", {}, line))]
}

const draw = (): void => {
  for (const instance of world.instances) byId(`instance-${instance.name}`).replaceChildren(...instanceCard(instance))
  byId("storage").replaceChildren(...storageCard())
  byId("told").replaceChildren(
    ...world.told.map(({ at, instance, text }) => h("li", {}, h("time", {}, clockTime(at)), ` ${instance}: ${text}`))
  )
}

const showSettings = (): void => {
  for (const output of form.querySelectorAll("output")) {
    const input = form.elements.namedItem(output.htmlFor.value) as HTMLInputElement
    setText(output, input.value)
  }
}

form.addEventListener("input", () => {
  showSettings()
  world.change(settings())
})
byId("kill").addEventListener("click", (event) => {
  world.isStorageDead = !world.isStorageDead
  setText(event.target as Element, world.isStorageDead ? "Bring the storage back" : "Kill the storage")
})
byId("instances").append(...world.instances.map((instance) => {
  const pause = h("button", {
    onclick: () => {
      instance.isPaused = !instance.isPaused
      setText(pause, instance.isPaused ? "Let it run" : "Stop it")
    }
  }, "Stop it")
  return h(
    "section",
    { class: "card" },
    h("h2", {}, `Instance ${instance.name}`),
    h("div", { id: `instance-${instance.name}` }),
    pause
  )
}))

showSettings()
world.start()
setInterval(draw, 150)
