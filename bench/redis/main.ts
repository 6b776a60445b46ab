/**
 * `npm run bench:redis`: measures the cost of shared circuits on Redis, for this library and Effect's own breaker, in
 * one run. `-- --json` prints one document. It starts a redis-server, unless `REDIS_URL` names one. The commands of
 * other clients of that server are counted, too.
 */
import { print } from "../fleet/report.ts"
import { measureCommands, measureCost, measureDelay, measurePropagation, measureRush } from "./measure.ts"
import { startServer } from "./server.ts"

const server = await startServer()
try {
  await print(
    [measureRush, measureCost, measurePropagation, measureCommands, measureDelay],
    (value) => [
      {
        text: "local, 64 fibers: ours / Effect's own",
        measured: value("local-64", "ours") / value("local-64", "effect"),
        least: 50
      },
      {
        text: "strict, 64 fibers: ours / Effect's own",
        measured: value("strict-64", "ours") / value("strict-64", "effect"),
        least: 3
      },
      {
        text: "the cost of a call: on Redis / on memory",
        measured: value("added-local", "ours") / value("added-local", "ours-memory"),
        most: 1.2
      },
      {
        text: "commands per second: at 100,000 calls per second / at 1,000",
        measured: value("commands-at-100k", "ours") / value("commands-at-1k", "ours"),
        most: 1.25
      },
      {
        text: "the event loop's delay, p99: slow Redis / normal Redis",
        measured: value("event-loop-slow-p99", "ours") / value("event-loop-p99", "ours"),
        most: 1.25
      }
    ]
  )
} finally {
  await server.stop()
}
process.exit()
