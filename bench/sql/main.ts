/**
 * `npm run bench:sql`: measures the cost of a fleet's circuits on Postgres, MariaDB and SQLite, on this machine and in
 * one run. `-- --json` prints one document. It starts its own servers, which do not wait for a disk, unless
 * `DATABASE_URL` names a Postgres or `MYSQL_URL` a MariaDB or MySQL: there it creates tables that begin with `bench_`,
 * and drops them.
 */
import { print } from "../fleet/report.ts"
import { measureCost, measureDelay, measurePropagation, measureReports, measureStatements } from "./measure.ts"
import { databases, startServers } from "./servers.ts"

const servers = await startServers()
try {
  await print(
    [measureCost, measureReports, measurePropagation, measureStatements, measureDelay],
    (value) =>
      databases.flatMap((database) => [
        {
          text: `what a call costs: on ${database} / on memory`,
          measured: value("added-local", database) / value("added-local", "memory"),
          most: 1.2
        },
        {
          text: `statements a second on ${database}: at 100,000 calls a second / at 1,000`,
          measured: value("statements-at-100k", database) / value("statements-at-1k", database),
          most: 1.25
        }
      ])
  )
} finally {
  await servers.stop()
}
process.exit()
