/**
 * The tables, in four flavours of SQL. Text is compared byte by byte, times are UTC.
 *
 * Each index has a reader. The primary keys find the rows of a circuit. `expires_at` finds what the clean-up deletes.
 * `rung_at` finds what a poll asks for. `created_at` of the history finds the changes since a time, and those that are too
 * old. The primary
 * key of the history begins with circuit and time, because the history of a circuit is read in that order, and because
 * Postgres can then partition it by time. No index has a column that reports change (`delta`, the counts, `heard_at`), so
 * that Postgres writes no index when it updates such a row (HOT).
 */

export type Flavour = "sqlite" | "postgres" | "mysql" | "mariadb"

/** The names of the tables. */
export interface Tables {
  readonly states: string
  readonly counts: string
  readonly instances: string
  readonly history: string
  readonly jobs: string
  readonly bells: string
  readonly epoch: string
  readonly migrations: string
}

/** The names have a dot between schema and table. Effect's SQL quotes the two parts separately. */
export const tablesOf = (prefix: string, schema: string | undefined): Tables => {
  const name = (table: string) => `${schema === undefined ? "" : `${schema}.`}${prefix}${table}`
  return {
    states: name("states"),
    counts: name("counts"),
    instances: name("instances"),
    history: name("history"),
    jobs: name("jobs"),
    bells: name("bells"),
    epoch: name("epoch"),
    migrations: name("migrations")
  }
}

interface Types {
  /** A name, compared byte by byte: with its case, its accents and its trailing spaces. */
  readonly name: string
  readonly text: string
  readonly time: string
  readonly now: string
  readonly quote: string
  /** Options of a table whose rows are updated often. */
  readonly updatedTable: string
  /** Options of any other table. */
  readonly table: string
}

const mysql = (collation: string): Types => ({
  name: `varchar(255) CHARACTER SET utf8mb4 COLLATE ${collation}`,
  text: `mediumtext CHARACTER SET utf8mb4 COLLATE ${collation}`,
  time: "datetime(3)",
  now: "(UTC_TIMESTAMP(3))",
  quote: "`",
  updatedTable: " ENGINE = InnoDB",
  table: " ENGINE = InnoDB"
})

const types: Readonly<Record<Flavour, Types>> = {
  sqlite: {
    name: "text",
    text: "text",
    time: "text",
    now: "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
    quote: "\"",
    updatedTable: "",
    table: ""
  },
  postgres: {
    name: "varchar(255) COLLATE \"C\"",
    text: "text",
    time: "timestamptz",
    now: "clock_timestamp()",
    quote: "\"",
    // Pages are half empty, so that an updated row stays on its page.
    updatedTable: " WITH (fillfactor = 50)",
    table: ""
  },
  mysql: mysql("utf8mb4_0900_bin"),
  mariadb: mysql("utf8mb4_nopad_bin")
}

const STATES = "('closed', 'open', 'half_open')"

const quotedBy = (quote: string) => (names: string): string =>
  names.split(".").map((name) => `${quote}${name}${quote}`).join(".")

/** Creates a table with an index on one column, by statements that do nothing where both exist. */
const createTable = (
  flavour: Flavour,
  table: string,
  columns: string,
  { index, options }: { readonly index?: string; readonly options: string }
): ReadonlyArray<string> => {
  const quoted = quotedBy(types[flavour].quote)
  const isMysql = flavour === "mysql" || flavour === "mariadb"
  const indexName = index === undefined ? "" : quoted(`${table.split(".").at(-1)}_${index}`)
  // MySQL has no `CREATE INDEX IF NOT EXISTS`, so its index is part of the table.
  const key = index !== undefined && isMysql ? `,\n  KEY ${indexName} (${index})` : ""
  return [
    `CREATE TABLE IF NOT EXISTS ${quoted(table)} (\n  ${columns.trim()}${key}\n)${options}`,
    ...index === undefined || isMysql
      ? []
      : [`CREATE INDEX IF NOT EXISTS ${indexName} ON ${quoted(table)} (${index})`]
  ]
}

/** The statements that create the tables. */
// oxlint-disable-next-line max-lines-per-function -- it is the schema, in one place
const statements = (flavour: Flavour, tables: Tables): ReadonlyArray<string> => {
  const { name, now, table: options, text, time, updatedTable } = types[flavour]
  const updated = { options: updatedTable }
  return [
    ...createTable(
      flavour,
      tables.states,
      `
  service_name ${name} NOT NULL PRIMARY KEY,
  full_name ${text},
  state varchar(9) NOT NULL DEFAULT 'closed' CHECK (state IN ${STATES}),
  override_kind varchar(12),
  generation bigint NOT NULL DEFAULT 0,
  consecutive_failures bigint NOT NULL DEFAULT 0,
  failure_count bigint NOT NULL DEFAULT 0,
  success_count bigint NOT NULL DEFAULT 0,
  timeout_count bigint NOT NULL DEFAULT 0,
  total_requests bigint NOT NULL DEFAULT 0,
  last_failure_time ${time},
  last_success_time ${time},
  opened_at ${time},
  open_until ${time},
  created_at ${time} NOT NULL DEFAULT ${now},
  updated_at ${time} NOT NULL DEFAULT ${now},
  expires_at ${time},
  document ${text}`,
      { index: "expires_at", options }
    ),
    ...createTable(
      flavour,
      tables.counts,
      `
  service_name ${name} NOT NULL,
  stripe smallint NOT NULL,
  delta ${text},
  PRIMARY KEY (service_name, stripe)`,
      updated
    ),
    ...createTable(
      flavour,
      tables.instances,
      `
  service_name ${name} NOT NULL,
  instance ${name} NOT NULL,
  kind varchar(9) NOT NULL,
  sequence bigint NOT NULL,
  heard_at double precision NOT NULL,
  PRIMARY KEY (service_name, instance, kind)`,
      updated
    ),
    ...createTable(
      flavour,
      tables.history,
      `
  service_name ${name} NOT NULL,
  generation bigint NOT NULL,
  state_change varchar(24) NOT NULL,
  old_state varchar(9) NOT NULL CHECK (old_state IN ${STATES}),
  new_state varchar(9) NOT NULL CHECK (new_state IN ${STATES}),
  consecutive_failures bigint NOT NULL,
  failure_count bigint NOT NULL,
  total_requests bigint NOT NULL,
  reason ${text} NOT NULL,
  actor ${text},
  created_at ${time} NOT NULL,
  entry ${text} NOT NULL,
  PRIMARY KEY (service_name, created_at, generation)`,
      { index: "created_at", options }
    ),
    ...createTable(
      flavour,
      tables.jobs,
      `
  job varchar(32) NOT NULL PRIMARY KEY,
  due_at bigint NOT NULL`,
      { options }
    )
  ]
}

/**
 * The bells have a table of their own, because an older version reads and writes the others as before, and because not all
 * databases can add a column only where it is missing.
 */
const bellStatements = (flavour: Flavour, tables: Tables): ReadonlyArray<string> => {
  const { name, table: options, updatedTable } = types[flavour]
  return [
    ...createTable(
      flavour,
      tables.bells,
      `
  service_name ${name} NOT NULL PRIMARY KEY,
  generation bigint NOT NULL,
  rung_at double precision NOT NULL,
  called_at double precision,
  alert_until double precision,
  updated_at double precision NOT NULL`,
      { index: "rung_at", options: updatedTable }
    ),
    ...createTable(
      flavour,
      tables.epoch,
      `
  id smallint NOT NULL PRIMARY KEY,
  epoch varchar(36) NOT NULL`,
      { options }
    )
  ]
}

/** The migrations in their order. A released migration never changes: later changes of the schema are another one. */
export const migrations: ReadonlyArray<{
  readonly name: string
  readonly statements: (flavour: Flavour, tables: Tables) => ReadonlyArray<string>
}> = [
  { name: "circuit_breaker_tables", statements },
  { name: "circuit_breaker_bells", statements: bellStatements }
]

/** The statements that note all migrations as done, in the table of Effect's `Migrator`, for tables created by hand. */
export const noted = (flavour: Flavour, { migrations: table }: Tables): ReadonlyArray<string> => {
  const { quote } = types[flavour]
  const name = quotedBy(quote)(table)
  const time = flavour === "postgres"
    ? "timestamptz NOT NULL DEFAULT now()"
    : "timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP"
  return [
    `CREATE TABLE IF NOT EXISTS ${name} (
  migration_id integer NOT NULL PRIMARY KEY,
  created_at ${time},
  name varchar(255) NOT NULL
)`,
    ...migrations.map((migration, index) =>
      `INSERT INTO ${name} (migration_id, name) SELECT ${index + 1}, '${migration.name}'
WHERE NOT EXISTS (SELECT 1 FROM ${name} WHERE migration_id = ${index + 1})`
    )
  ]
}
