/**
 * `npm run check:exhaustive`: searches all small worlds, on all processors.
 *
 * --world name      this one alone
 * --depth n         how many steps, instead of the world's own number
 * --short           as few steps as `npm test` searches
 * --minutes n       stops each world's search after so long (default 30)
 * --mutations       finds the shortest run that breaks the protocol without each of the rules of the worlds
 * --mutation n      the same for the one with this number
 * --docs            writes what was found into the tables of docs/proof.md
 */
import { execFile } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs, promisify } from "node:util"
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads"
import { wholeNumber } from "../../support/options.ts"
import { mutations } from "../mutations.ts"
import { type Plan, plans } from "./plans.ts"
import { scenarioOf } from "./print.ts"
import { search, type Searched } from "./search.ts"

/** Every so many times that two runs come to one state, it is tried whether they go on alike. */
const AUDIT_EVERY = 200

interface Task {
  readonly world: string
  readonly depth: number
  readonly within: number
}

interface Done extends Searched {
  readonly scenario: string | undefined
  readonly seconds: number
}

const planOf = (world: string): Plan => {
  const plan = plans.find(({ name }) => name === world)
  if (plan === undefined) throw new RangeError(`--world must be one of ${plans.map(({ name }) => name).join(", ")}`)
  return plan
}

const perform = ({ depth, within, world }: Task): Done => {
  const plan = planOf(world)
  const start = performance.now()
  const searched = search(plan, { depth, within, auditEvery: AUDIT_EVERY })
  const scenario = searched.found === undefined ? undefined : scenarioOf(plan, searched.found)
  return { ...searched, scenario, seconds: (performance.now() - start) / 1000 }
}

const inWorker = (task: Task): Promise<Done> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: task })
    worker.on("message", resolve)
    worker.on("error", reject)
  })

/** Runs so many at once. */
const pooled = async <A>(items: ReadonlyArray<A>, run: (item: A) => Promise<void>): Promise<void> => {
  const left = [...items]
  const next = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await run(item)
  }
  await Promise.all(Array.from({ length: availableParallelism() }, next))
}

const row = (...cells: ReadonlyArray<string | number>): void =>
  console.log(cells.map((cell, i) => i === 0 ? String(cell).padEnd(12) : String(cell).padStart(10)).join(""))

type Cells = ReadonlyArray<string | number>

/** Writes these rows of the table of docs/proof.md whose head begins with this cell. It has one for each name, in this order. */
const document = (head: string, names: ReadonlyArray<string>, rows: ReadonlyMap<string, Cells>): void => {
  const path = fileURLToPath(new URL("../../../docs/proof.md", import.meta.url))
  const lines = readFileSync(path, "utf8").split("\n")
  const nameOf = (line: string): string => line.split("|")[1]?.trim() ?? ""
  const first = lines.findIndex((line) => nameOf(line) === head) + 2
  const count = lines.indexOf("", first) - first
  const former = new Map(lines.slice(first, first + count).map((line) => [nameOf(line), line]))
  const row = (cells: Cells): string => `| ${cells.join(" | ")} |`
  const written = names.flatMap((name) => rows.has(name) ? row(rows.get(name)!) : former.get(name) ?? [])
  lines.splice(first, count, ...written)
  writeFileSync(path, lines.join("\n"))
}

const searchAll = async (tasks: ReadonlyArray<Task>): Promise<void> => {
  const rows = new Map<string, Cells>()
  row("world", "depth", "states", "steps", "audited", "seconds")
  await pooled(tasks, async (task) => {
    const { audited, depth, scenario, seconds, states, steps, unlike } = await inWorker(task)
    row(task.world, depth, states, steps, audited, seconds.toFixed(0))
    const { about, depth: most, name } = planOf(task.world)
    rows.set(name, [name, about, most, depth, states, steps, seconds.toFixed(0)])
    if (scenario !== undefined) console.log(`\n${scenario}\n`)
    for (const one of unlike) console.log(`  told apart by a further step: ${one}`)
    if (scenario !== undefined || unlike.length > 0) process.exitCode = 1
  })
  if (values.docs) document("world", plans.map(({ name }) => name), rows)
  console.log(process.exitCode === 1 ? "something is broken" : "all holds")
}

/** Runs this program on a library without the rule. */
const without = async (mutation: number, task: Task): Promise<string> => {
  const hooks = ["../mutate.ts", "./expose.ts"].flatMap((
    hook
  ) => ["--import", fileURLToPath(new URL(hook, import.meta.url))])
  const { world, depth, within } = task
  const options = ["--world", world, "--depth", String(depth), "--minutes", String(Math.ceil(within / 60_000))]
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...hooks, fileURLToPath(import.meta.url), ...options],
    { env: { ...process.env, SIM_MUTATION: String(mutation) } }
  ).catch((failed: { readonly stdout: string }) => failed)
  return stdout
}

const { values } = parseArgs({
  options: {
    world: { type: "string" },
    depth: { type: "string" },
    short: { type: "boolean", default: false },
    minutes: { type: "string", default: "30" },
    mutations: { type: "boolean", default: false },
    mutation: { type: "string" },
    docs: { type: "boolean", default: false }
  }
})

const taskOf = ({ depth, depthInTests, name }: Plan): Task => ({
  world: name,
  depth: values.depth !== undefined
    ? wholeNumber("depth", values.depth, { least: 1 })
    : values.short
    ? depthInTests
    : depth,
  within: 60_000 * wholeNumber("minutes", values.minutes, { least: 1 })
})

/** Prints the shortest run that breaks the protocol without a rule, and returns its number of steps. */
const findMutation = async (mutation: number): Promise<string | undefined> => {
  const { rule } = mutations[mutation]!
  const plan = plans.find(({ rules = [] }) => rules.includes(rule))
  const told = plan === undefined ? "" : await without(mutation, taskOf(plan))
  const [scenario] = /^# [^]*(?=\n\n[^\n]*\n*something is broken)/m.exec(told) ?? []
  console.log(scenario === undefined ? `\nNot found: ${rule}` : `\nWithout the rule that ${rule}:\n\n${scenario}`)
  if (scenario === undefined) process.exitCode = 1
  return /, (\d+) steps? from its beginning/.exec(scenario ?? "")?.[1]
}

const findAll = async (): Promise<void> => {
  const searched = plans.flatMap(({ name, rules = [] }) => rules.map((rule) => ({ name, rule })))
  const rows = new Map<string, Cells>()
  await pooled(searched, async ({ name, rule }) => {
    const steps = await findMutation(mutations.findIndex((mutation) => mutation.rule === rule))
    rows.set(rule, [rule, name, steps ?? "not found"])
  })
  if (values.docs) document("rule", searched.map(({ rule }) => rule), rows)
}

if (!isMainThread) parentPort!.postMessage(perform(workerData as Task))
else if (values.mutation !== undefined) {
  await findMutation(wholeNumber("mutation", values.mutation, { least: 0, most: mutations.length - 1 }))
} else if (values.mutations) await findAll()
else await searchAll((values.world === undefined ? plans : [planOf(values.world)]).map(taskOf))
