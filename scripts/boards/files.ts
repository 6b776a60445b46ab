import { rulesFile } from "./alerts.ts"
import { dashboardFile } from "./grafana.ts"

/** The files of the package that show metrics, by their paths. */
export const boardFiles = (): Readonly<Record<string, string>> => ({
  "grafana/effect-breaker.json": dashboardFile(),
  "prometheus/effect-breaker.rules.yml": rulesFile()
})
