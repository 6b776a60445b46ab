import { afterAll } from "@effect/vitest"
import { rmSync } from "node:fs"
import { mkdtemp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Sqlite from "../../src/layers/Sqlite.ts"
import { conforms } from "./laws.ts"

const directory = await mkdtemp(join(tmpdir(), "effect-breaker-sqlite-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

conforms({
  name: "SQLite",
  capabilities: { shared: false, durable: true, pushes: false, history: true, fences: true },
  client: () => Sqlite.layer({ file: join(directory, "laws.sqlite") })
})
