import { Redacted } from "effect"
import { inject } from "vitest"
import * as Postgres from "../../src/layers/Postgres.ts"
import { conforms } from "./laws.ts"

conforms({
  name: "Postgres",
  capabilities: { shared: true, durable: true, pushes: true, history: true, fences: true },
  client: () => Postgres.layer({ url: Redacted.make(inject("databaseUrl")) })
})
