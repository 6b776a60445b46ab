/** The dashboard as Grafana imports it: the panels as JSON, with their places. */
import { metric } from "./names.ts"
import { type Panel, rows, stateCodes, VARIABLES } from "./panels.ts"

const WIDTH = 24

const datasource = { type: "prometheus", uid: "${datasource}" }

const colors = {
  closed: "green",
  metrics_only: "purple",
  disabled: "blue",
  half_open: "yellow",
  open: "red",
  forced_open: "dark-red"
} as const

/** Numbers as the states that they stand for. */
const stateMappings = [{
  type: "value",
  options: Object.fromEntries(
    Object.entries({ closed: 0, ...stateCodes }).map(([state, code], index) => [
      String(code),
      { text: state.replace("_", "-"), color: colors[state as keyof typeof colors], index }
    ])
  )
}]

const thresholds = {
  mode: "absolute",
  steps: [{ color: "green", value: null }, { color: "red", value: 1 }]
}

const fieldConfig = ({ kind, unit = "short" }: Panel) => ({
  defaults: {
    unit,
    ...(kind === "state-timeline" ? { mappings: stateMappings, custom: { fillOpacity: 80, lineWidth: 0 } } : {}),
    ...(kind === "stat" ? { thresholds, color: { mode: "thresholds" } } : {}),
    ...(kind === "timeseries" ? { min: 0, custom: { fillOpacity: 10, showPoints: "never" } } : {})
  },
  overrides: []
})

const optionsOf = ({ kind }: Panel) => {
  switch (kind) {
    case "stat":
      return { reduceOptions: { calcs: ["lastNotNull"] }, colorMode: "background" }
    case "table":
      return { showHeader: true }
    case "state-timeline":
      return { mergeValues: true, showValue: "auto", legend: { showLegend: false }, tooltip: { mode: "single" } }
    case "timeseries":
      return { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi", sort: "desc" } }
  }
}

/** One row for a circuit, with a column for each query. */
const tableTransformations = [
  { id: "merge", options: {} },
  {
    id: "organize",
    options: { excludeByName: { Time: true, __name__: true, from: true, to: true } }
  }
]

const panelOf = (panel: Panel, id: number, gridPos: object) => ({
  id,
  type: panel.kind,
  title: panel.title,
  description: panel.description,
  datasource,
  gridPos,
  fieldConfig: fieldConfig(panel),
  options: optionsOf(panel),
  ...(panel.kind === "table" ? { transformations: tableTransformations } : {}),
  targets: panel.queries.map(({ expr, legend }, i) => ({
    refId: String.fromCodePoint("A".codePointAt(0)! + i),
    datasource,
    editorMode: "code",
    expr,
    legendFormat: legend,
    ...(panel.kind === "table" ? { format: "table", instant: true } : { range: true })
  }))
})

const panels = (): ReadonlyArray<object> => {
  const placed: Array<object> = []
  let y = 0
  for (const row of rows) {
    placed.push({
      id: placed.length + 1,
      type: "row",
      title: row.title,
      collapsed: false,
      gridPos: { h: 1, w: WIDTH, x: 0, y: y++ },
      panels: []
    })
    let x = 0
    for (const panel of row.panels) {
      if (x + panel.width > WIDTH) {
        x = 0
        y += row.height
      }
      placed.push(panelOf(panel, placed.length + 1, { h: row.height, w: panel.width, x, y }))
      x += panel.width
    }
    y += row.height
  }
  return placed
}

/** Each variable offers what the ones before it leave. */
const variables = VARIABLES.map((name, i) => {
  const chosen = VARIABLES.slice(0, i).map((other) => `${other}=~"$${other}"`).join(",")
  const query = `label_values(${metric.state}${chosen === "" ? "" : `{${chosen}}`}, ${name})`
  return {
    name,
    type: "query",
    datasource,
    definition: query,
    query: { query, refId: `Variable-${name}` },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    allValue: ".*",
    current: { selected: true, text: ["All"], value: ["$__all"] }
  }
})

export const dashboard = () => ({
  uid: "effect-breaker",
  title: "Circuit breakers",
  description: "Circuits of effect-breaker: what is open and why, calls, the fleet, and its storage.",
  tags: ["effect-breaker"],
  schemaVersion: 39,
  version: 1,
  editable: true,
  refresh: "30s",
  time: { from: "now-1h", to: "now" },
  templating: {
    list: [{ name: "datasource", type: "datasource", query: "prometheus", current: {} }, ...variables]
  },
  annotations: { list: [] },
  panels: panels()
})

export const dashboardFile = (): string => `${JSON.stringify(dashboard(), undefined, 2)}\n`
