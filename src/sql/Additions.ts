/**
 * Reports that Postgres adds to their stripes itself, where others have reported to a stripe since it was read. So a report to a
 * stripe that many instances report to at once is not read, counted and sent again. What it adds was computed by `additionOf`.
 *
 * The result is what `enter` makes of the stripe as it is now, where `enter` sees no success of another stripe that the report did
 * not see when it was counted.
 *
 * The stripe stays text: it is cut where `stripeText` has put a field, and only what a report changes is read as numbers. To read all
 * of it as JSON takes twice as long.
 */
import { MOST_BUCKETS } from "../core/Buckets.ts"
import { noLifetimeCounts } from "../core/Delta.ts"
import { type Addition, MOST_STRIPES, REMOVED } from "./Stripes.ts"

const COUNTS = Object.keys(noLifetimeCounts)
const LAST_CALLS = ["lastSuccess", "lastFailure"]

const columns = (names: ReadonlyArray<string>, type: string): string =>
  names.map((name) => `"${name}" ${type}`).join(", ")

const lifetimeColumns = `${columns(COUNTS, "bigint")}, ${
  columns(LAST_CALLS.flatMap((call) => [`${call}Age`, `${call}Duration`]), "float8")
}`

/** The columns of an addition, in a list of columns with their types. All are null for a report that is not added. */
export const additionColumns = `base text, "sentAsOf" float8, newest bigint, "leading" bigint, "sawSuccess" boolean,
"trailing" bigint, ${lifetimeColumns}, ${columns(["width", "index", "inSuccess", "inFailure", "inSlow"], "bigint")}`

/** The values of `additionColumns`. */
export const additionRow = ({ asOf, base, bucket, counts, last, newest, streak }: Addition) => ({
  base,
  sentAsOf: asOf,
  newest,
  ...streak,
  ...counts,
  ...last,
  ...bucket === undefined ? {} : {
    width: bucket.width,
    index: bucket.index,
    inSuccess: bucket.success,
    inFailure: bucket.failure,
    inSlow: bucket.slow
  }
})

/** The age and the duration of the last success, or failure: of the later call, and of the report's if both are as old. */
const last = (call: string): string => {
  const age = `life."${call}Age" + (as_of - old."asOf")`
  const sentAge = `places."${call}Age" + (as_of - "sentAsOf")`
  return `coalesce(',"${call}Age":' || least(${age}, ${sentAge}), '') || coalesce(',"${call}Duration":' ||
CASE WHEN ${sentAge} <= coalesce(${age}, 'Infinity') THEN places."${call}Duration" ELSE life."${call}Duration" END, '')`
}

const lifetime = `'{' || ${
  COUNTS.map((name, i) => `'${i === 0 ? "" : ","}"${name}":' || life."${name}" + places."${name}"`).join(" || ")
} || ${LAST_CALLS.map(last).join(" || ")} || '}'`

/** SQL: these numbers are not below zero, and exact in JavaScript. A process refuses the text of a stripe with any other number. */
const areReadable = (numbers: ReadonlyArray<string>): string =>
  `greatest(${numbers.join(", ")}) <= ${Number.MAX_SAFE_INTEGER} AND least(${numbers.join(", ")}) >= 0`

/** The counts of a bucket with those of the report added. `countAt` is SQL for the first to third of them. */
const sums = (countAt: (i: number) => string): ReadonlyArray<string> =>
  ["inSuccess", "inFailure", "inSlow"].map((name, i) => `${countAt(i + 1)}::bigint + "${name}"`)

const newest = (i: number): string => `split_part(counts, ',', ${i})`

/** The counts where the report's bucket is the newest, which most are. */
const addedToNewest = `CASE WHEN ${areReadable(sums(newest))} THEN concat(${sums(newest).join(`, ',', `)},
substr(counts, 3 + length(${newest(1)}) + length(${newest(2)}) + length(${newest(3)}))) END`

/** A window with more buckets is cut to those that may still count. */
const MOST_STORED = MOST_BUCKETS + REMOVED

const sumsInPlace = sums((i) => `all_counts[3 * place + ${i}]`)

/** The counts where it is another one, maybe a new one before all others. */
const addedToOther = `(
SELECT array_to_string(all_counts[:3 * place] || ARRAY[${sumsInPlace.join(", ")}]::text[]
|| all_counts[3 * place + 4:CASE WHEN cardinality(all_counts) > ${3 * MOST_STORED} THEN ${3 * MOST_BUCKETS}
ELSE cardinality(all_counts) END], ',')
FROM (SELECT greatest(at, 0)::integer AS place, CASE WHEN at < 0
THEN array_fill('0'::text, ARRAY[3 * least(-at, ${MOST_STORED})::integer]) || string_to_array(counts, ',')
ELSE string_to_array(counts, ',') END AS all_counts OFFSET 0) AS placed WHERE ${areReadable(sumsInPlace)}
)`

/**
 * Common table expressions, of which `added` has the rows of `held` with their new texts (`delta`). `held` has the texts as they
 * are (`stored`), `additionColumns`, and ids for the new texts. Left out are reports that are not to be added, stripes that were
 * not only reported to since they were read, and those whose window has no place for the report's counts. So are texts of another
 * form than `stripeText` writes: the parts of a text must make up the whole again, and a field that is missing makes the new
 * text null.
 */
export const added = `
parts AS MATERIALIZED (
SELECT held.*, split_part(stored, ',"window":', 1) AS head,
split_part(split_part(stored, ',"window":', 2), ',"base":', 1) AS whole
FROM held WHERE base IS NOT NULL
), buckets AS MATERIALIZED (
SELECT parts.*, split_part(split_part(whole, '"newest":', 2), ',', 1) AS stored_newest,
split_part(split_part(whole, '"counts":[', 2), ']', 1) AS counts, split_part(whole, ',"shed":', 2) AS shed
FROM parts WHERE stored = concat(head, ',"window":', whole, ',"base":"', base, '"}')
), places AS MATERIALIZED (
SELECT * FROM (
SELECT buckets.*, CASE WHEN whole = '[]' THEN -1
-- A quote after the calls that were shed would begin another field, or the buckets of another width.
WHEN strpos(shed, '"') = 0 AND whole = concat('[{"width":', width, ',"newest":', stored_newest, ',"counts":[', counts, ']',
CASE WHEN shed = '' THEN '}]' ELSE ',"shed":' || shed END) THEN stored_newest::bigint - "index" END AS at
FROM buckets
) AS buckets WHERE "index" IS NULL OR CASE WHEN at < 0 THEN shed = ''
WHEN at = 0 THEN counts <> '' ELSE 3 * at < cardinality(string_to_array(counts, ',')) END
), texts AS MATERIALIZED (
SELECT service_name, stripe, instance, kind, sequence, heard_at,
'{"id":"' || id || '","asOf":' || as_of || ',"delta":{"buckets":[],"streak":' || CASE
WHEN "sawSuccess" THEN concat('{"leading":', "leading", ',"sawSuccess":true,"trailing":', "trailing", '}')
WHEN counts_failures THEN '{"leading":0,"sawSuccess":false,"trailing":' || failures || '}'
ELSE (old.delta -> 'streak')::text END
|| ',"lifetime":' || ${lifetime}
|| ',"hint":' || greatest(0, (old.delta ->> 'hint')::float8 - (as_of - old."asOf"))
|| '},"since":' || CASE WHEN "sawSuccess" THEN next_success WHEN counts_failures THEN newest ELSE since END
|| ',"success":' || CASE WHEN "sawSuccess" THEN next_success ELSE old.success END
|| ',"window":' || CASE WHEN "index" IS NULL THEN whole ELSE
'[{"width":' || width || ',"newest":' || CASE WHEN at < 0 THEN "index"::text ELSE stored_newest END || ',"counts":['
|| CASE WHEN at = 0 THEN ${addedToNewest} ELSE ${addedToOther} END
|| ']' || CASE WHEN shed = '' THEN '}]' ELSE ',"shed":' || shed END END
|| ',"base":"' || base || '"}' AS delta
FROM places
CROSS JOIN LATERAL json_to_record((head || '}')::json) AS old ("asOf" float8, since bigint, success bigint, delta json)
CROSS JOIN LATERAL json_to_record(old.delta -> 'lifetime') AS life (${lifetimeColumns})
CROSS JOIN LATERAL (
SELECT greatest(old."asOf", "sentAsOf") AS as_of,
(greatest(since, newest) / ${MOST_STRIPES} + 1) * ${MOST_STRIPES} + places.stripe AS next_success,
-- Failures that do not see the newest success came before it.
NOT "sawSuccess" AND "trailing" > 0 AND newest >= since AS counts_failures,
"trailing" + CASE WHEN since = newest THEN (old.delta #>> '{streak,trailing}')::bigint ELSE 0 END AS failures
) AS counted
WHERE num_nulls(old."asOf", since, old.success) = 0 AND ${areReadable(["next_success", "failures"])}
), added AS (
SELECT * FROM texts WHERE delta IS NOT NULL
)`
