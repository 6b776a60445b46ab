/** The names that queries use: those of the table of metrics, as Prometheus has them. */
import { prometheusNameOf, type Row, table } from "../../src/internal/MetricTable.ts"

/** All metrics by their key in the table. A histogram's series add `_bucket`, `_sum` or `_count`. */
export const metric = Object.fromEntries(
  Object.entries(table).map(([key, row]) => [key, prometheusNameOf(row as Row)])
) as Readonly<Record<keyof typeof table, string>>
