import { assert, it } from "@effect/vitest"
import { readFile } from "node:fs/promises"
import { DASHBOARD_MODULE, dashboardModule } from "../../scripts/pages.ts"

it("the page that is served is made of pages/dashboard; `npm run pages` makes it anew", async () => {
  assert.isTrue(await readFile(DASHBOARD_MODULE, "utf8") === await dashboardModule())
})
