/** The command line on SQLite and on files. `test/sql/commandLine.test.ts` has the servers. */
import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { afterAll, describe } from "vitest"
import { commandLine } from "../support/commandLine.ts"
import { temporaryDirectory } from "../support/servers/processes.ts"

const directory = await temporaryDirectory()
afterAll(() => rm(directory, { recursive: true, force: true }))

describe("the command line", () => {
  commandLine([
    {
      name: "SQLite",
      target: () => Promise.resolve({ url: `sqlite:${join(directory, "circuits.db")}` }),
      countsInstances: false
    },
    {
      name: "files",
      countsInstances: true,
      target: async () => {
        const circuits = join(directory, "circuits")
        await mkdir(circuits)
        return { url: `file:${circuits}` }
      }
    }
  ])
})
