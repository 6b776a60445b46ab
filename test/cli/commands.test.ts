/** The command line on SQLite and on files. `test/sql/commandLine.test.ts` has the servers, and `test/redis` a Cluster and Sentinels. */
import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, describe } from "vitest"
import { CLEANED_SQL, commandLine } from "../support/commandLine.ts"
import { temporaryDirectory } from "../support/servers/processes.ts"

const directory = await temporaryDirectory()
afterAll(() => rm(directory, { recursive: true, force: true }))

describe("the command line", () => {
  commandLine([
    {
      name: "SQLite",
      target: () => Promise.resolve({ url: `sqlite:${join(directory, "circuits.db")}` }),
      cleaned: CLEANED_SQL
    },
    {
      name: "files",
      cleaned: [2, /Services clean up file .* by themselves/],
      target: async () => {
        const circuits = join(directory, "circuits")
        await mkdir(circuits)
        return { url: `file:${circuits}` }
      }
    }
  ])
})
