/** The site's navigation: every document has one place in it. A test compares it with `docs`. */
export const navigation: ReadonlyArray<{ readonly title: string; readonly pages: ReadonlyArray<string> }> = [
  {
    title: "Start",
    pages: ["README.md", "docs/recipes.md", "docs/http.md", "docs/testing.md", "docs/comparison.md", "docs/support.md"]
  },
  {
    title: "Behaviour",
    pages: ["docs/what-happens-when.md", "docs/faults.md", "docs/isolation.md", "docs/cost.md", "docs/configuration.md"]
  },
  {
    title: "A fleet",
    pages: [
      "docs/fleet.md",
      "docs/choosing-a-storage.md",
      "docs/redis.md",
      "docs/sql.md",
      "docs/files.md",
      "docs/combining-storages.md",
      "docs/write-your-own-storage.md",
      "docs/protocol.md",
      "docs/proof.md"
    ]
  },
  {
    title: "Operating",
    pages: [
      "docs/operating.md",
      "docs/command-line.md",
      "docs/dashboard.md",
      "docs/observability.md",
      "docs/metrics.md",
      "docs/logs.md",
      "docs/health.md",
      "docs/export.md",
      "docs/troubleshooting.md"
    ]
  },
  { title: "Beside others", pages: ["docs/effects-own-breaker.md", "docs/moving-in.md"] },
  {
    title: "Inside",
    pages: ["docs/architecture.md", "test/scenarios/README.md", "CONTRIBUTING.md", "AGENTS.md", "CHANGELOG.md"]
  }
]
