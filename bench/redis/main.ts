/**
 * `npm run bench:redis`: what one circuit for a fleet costs on Redis, ours and Effect's own, on this machine and in one run.
 * `-- --json` prints one document. It starts a redis-server of its own, unless `REDIS_URL` names one; what others do there
 * meanwhile is counted, too.
 */
import { measureCommands, measureCost, measureDelay, measurePropagation, measureRush } from "./measure.ts"
import { type Result, toBounds, toJson, toTable } from "./report.ts"
import { startServer } from "./server.ts"

const progress = (text: string) => {
  if (process.stderr.isTTY) console.error(`… ${text}`)
}

const server = await startServer()
const results: Array<Result> = []
try {
  for (const measure of [measureRush, measureCost, measurePropagation, measureCommands, measureDelay]) {
    results.push(...await measure(server.url, progress))
  }
} finally {
  await server.stop()
}

console.log(process.argv.includes("--json") ? toJson(results) : `${toTable(results)}\n\n${toBounds(results)}`)
process.exit()
