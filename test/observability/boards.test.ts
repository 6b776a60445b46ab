/** The dashboard and the alert rules, beside the real exporter's output. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Yaml } from "effect/encoding"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { alerts } from "../../scripts/boards/alerts.ts"
import { boardFiles } from "../../scripts/boards/files.ts"
import { dashboard } from "../../scripts/boards/grafana.ts"
import { rows, VARIABLES } from "../../scripts/boards/panels.ts"
import { type Row, table } from "../../src/internal/MetricTable.ts"
import * as BreakerMetrics from "../../src/observability/BreakerMetrics.ts"
import { root } from "../support/docs.ts"
import { metered, samplesIn, scrape } from "./support.ts"
import { options, world } from "./world.ts"

const panels = rows.flatMap(({ panels }) => panels)
const queries = [...alerts.map(({ expr }) => expr), ...panels.flatMap(({ queries }) => queries.map(({ expr }) => expr))]

/** The names of series in a query, and of the labels by which it chooses and groups. */
const namesIn = (query: string) => [...query.matchAll(/\bcircuit_breaker_\w+/g)].map(([name]) => name)

const labelsIn = (query: string) => [
  ...[...query.matchAll(/(\w+)(?:=~|!=|!~|=)"/g)].map(([, label]) => label!),
  ...[...query.matchAll(/\b(?:by|on) \(([^)]*)\)/g)].flatMap(([, labels]) =>
    labels!.split(",").map((label) => label.trim())
  )
]

/** Labels that are not the exporter's: Prometheus adds them. */
const added = ["job", "instance"]

const page = readFileSync(join(root, "docs/metrics.md"), "utf8")

/** The cells of the page's rows that begin with a name like this. */
const documented = (name: RegExp) =>
  page.split("\n").filter((line) => name.test(line)).map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim().replaceAll("`", ""))
  )

describe("docs/metrics.md", () => {
  it("docs/metrics.md lists every metric as the table has it, and no other", () => {
    const rows: ReadonlyArray<Row> = Object.values(table)
    assert.deepStrictEqual(
      documented(/^\| `circuit_breaker\./),
      rows.map(({ attributes, description, name, subject, type, unit, when = "" }) => [
        name,
        BreakerMetrics.prometheusName(name),
        type,
        unit,
        [...(subject === undefined ? [] : [subject]), ...attributes].join(", "),
        description,
        when.replaceAll("`", "")
      ])
    )
  })

  it("docs/metrics.md lists every alert with its severity", () => {
    assert.deepStrictEqual(
      documented(/^\| `CircuitBreaker/).map(([name, severity]) => [name, severity]),
      alerts.map(({ name, severity }) => [name, severity])
    )
  })

  it("docs/metrics.md lists every option", () => {
    const options = ["include", "keyed", "durations", "errors", "stateCode", "attributes"] satisfies ReadonlyArray<
      keyof BreakerMetrics.Options
    >
    for (const option of options) assert.strictEqual(documented(new RegExp(`^\\| \`${option}\``)).length, 1, option)
  })
})

describe("the boards", () => {
  it("the files of the package are those that `npm run boards` makes", () => {
    for (const [path, text] of Object.entries(boardFiles())) {
      assert.strictEqual(readFileSync(join(root, path), "utf8"), text, path)
    }
  })

  it.effect("every series that they name, with each label and value, is in the exporter's output", () =>
    Effect.gen(function*() {
      yield* world
      const series = [...samplesIn(yield* scrape).keys()]
      for (const query of queries) {
        const names = namesIn(query)
        assert.isAbove(names.length, 0, query)
        for (const name of names) {
          assert.isTrue(series.some((one) => one.startsWith(`${name}{`)), `${name} of ${query}`)
        }
        const ofQuery = series.filter((one) => names.includes(one.slice(0, one.indexOf("{"))))
        for (const label of labelsIn(query).filter((label) => !added.includes(label))) {
          assert.isTrue(ofQuery.some((one) => one.includes(`${label}="`)), `${label} of ${query}`)
        }
        for (const [, label, value] of query.matchAll(/(\w+)="([a-z_]+)"/g)) {
          assert.isTrue(ofQuery.some((one) => one.includes(`${label}="${value}"`)), `${label}="${value}" of ${query}`)
        }
      }
    }).pipe(metered(options)))

  it("the dashboard shows every metric but those that another shows better", () => {
    const shown = new Set(queries.flatMap(namesIn).map((name) => name.replace(/_(bucket|sum|count)$/, "")))
    const missing = Object.values(table).map(({ name }) => name).filter((name) =>
      !shown.has(BreakerMetrics.prometheusName(name))
    )
    // The state as a number is for boards that cannot make one of six series.
    assert.deepStrictEqual(missing, [table.stateCode.name])
  })

  it("the dashboard's panels have an id and a place of their own, and its queries use its variables alone", () => {
    const { panels, templating } = dashboard() as unknown as {
      readonly panels: ReadonlyArray<{ id: number; gridPos: { x: number; y: number; w: number; h: number } }>
      readonly templating: { readonly list: ReadonlyArray<{ readonly name: string }> }
    }
    assert.strictEqual(new Set(panels.map(({ id }) => id)).size, panels.length)
    const cells = panels.flatMap(({ gridPos: { h, w, x, y } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + i % w} ${y + Math.floor(i / w)}`)
    )
    assert.strictEqual(new Set(cells).size, cells.length)
    for (const { gridPos: { w, x } } of panels) assert.isAtMost(x + w, 24)
    assert.deepStrictEqual(templating.list.map(({ name }) => name), ["datasource", ...VARIABLES])
    for (const query of queries) {
      for (const [, name] of query.matchAll(/\$(\w+)/g)) {
        assert.include([...VARIABLES, "__rate_interval"], name)
      }
    }
  })

  it("each alert is for a fleet or for an instance, says what to do, and has a name of its own", () => {
    const { groups } = Yaml.parse(boardFiles()["prometheus/effect-breaker.rules.yml"]!) as any
    assert.deepStrictEqual(
      groups[0].rules.map(({ alert, expr }: any) => [alert, expr]),
      alerts.map(({ expr, name }) => [name, expr])
    )
    assert.strictEqual(new Set(alerts.map(({ name }) => name)).size, alerts.length)
    for (const { description, name, summary } of alerts) {
      assert.match(name, /^CircuitBreaker[A-Z]/)
      assert.match(summary, /\{\{ \$labels\.\w+ \}\}/)
      assert.isAbove(description.length, 30)
    }
  })
})
