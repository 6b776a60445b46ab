import { Redacted } from "effect"
import { inject } from "vitest"
import * as Mysql from "../../src/layers/Mysql.ts"
import { conforms } from "./laws.ts"

conforms({
  name: "MariaDB",
  capabilities: { shared: true, durable: true, pushes: false, history: true, fences: true },
  client: () => Mysql.layer({ url: Redacted.make(inject("mysqlUrl")) })
})
