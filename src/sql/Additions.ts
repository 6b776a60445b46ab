/**
 * Reports that Postgres adds to their stripes itself, where others have reported to a stripe since it was read. So a report to a
 * stripe that many instances report to at once is not read, counted and sent again. What it adds was computed by `additionOf`.
 *
 * The result is what `enter` makes of the stripe as it is now, where `enter` sees no success of another stripe that the report did
 * not see when it was counted. The counts of the window stay text, except for those of one bucket, because to read hundreds of
 * numbers would take longer than all the rest.
 */
import { MOST_STRIPES } from "./Stripes.ts"

/** The age and the duration of the last success, or failure: of the later call, and of the addition's if both are as old. */
const last = (call: "lastSuccess" | "lastFailure"): string => {
  const age = `(was #>> '{lifetime,${call}Age}')::float8 + as_of - was_as_of`
  const sentAge = `(addition #>> '{last,${call}Age}')::float8 + as_of - sent_as_of`
  return `
'${call}Age', least(${age}, ${sentAge}),
'${call}Duration', CASE WHEN ${sentAge} <= coalesce(${age}, 'Infinity') THEN addition #> '{last,${call}Duration}'
ELSE was #> '{lifetime,${call}Duration}' END`
}

const count = (name: string, i: number): string =>
  `counts[at + ${i}]::bigint + (addition #>> '{bucket,${name}}')::bigint`

/**
 * Common table expressions, of which `added` has the text of each stripe with its addition. `changed` has the texts as they are
 * (`stored`), the additions, and ids for the new texts. Left out are stripes that were not only reported to since they were read,
 * and those that have no place for the addition's counts.
 */
export const added = `
parts AS MATERIALIZED (
SELECT stripe, id, addition, old.delta AS was, old."asOf" AS was_as_of, since, success, base, old.window AS whole,
width, shed, ones.newest AS newest_bucket, string_to_array(btrim(counts::text, '[]'), ',') AS counts,
3 * (ones.newest - (addition #>> '{bucket,index}')::bigint) AS at,
(addition ->> 'asOf')::float8 AS sent_as_of, greatest(old."asOf", (addition ->> 'asOf')::float8) AS as_of,
(addition ->> 'newest')::bigint AS newest, (addition #>> '{streak,sawSuccess}')::boolean AS saw_success,
(addition #>> '{streak,trailing}')::bigint AS failures
FROM changed
CROSS JOIN LATERAL json_to_record(stored::json)
AS old ("asOf" float8, since bigint, success bigint, delta jsonb, "window" json, base text)
CROSS JOIN LATERAL json_to_record(old.window -> 0) AS ones (width bigint, newest bigint, counts json, shed json)
WHERE base = addition ->> 'base'
), places AS (
SELECT *, (greatest(since, newest) / ${MOST_STRIPES} + 1) * ${MOST_STRIPES} + stripe AS next_success,
-- Failures that do not see the newest success came before it.
NOT saw_success AND failures > 0 AND newest >= since AS counts_failures
FROM parts WHERE addition -> 'bucket' IS NULL OR (
json_array_length(whole) = 1 AND width = (addition #>> '{bucket,width}')::bigint AND at BETWEEN 0 AND cardinality(counts) - 3)
), added AS (
SELECT concat('{"id":"', id, '","asOf":', to_jsonb(as_of), ',"delta":', was || jsonb_build_object(
'streak', CASE WHEN saw_success THEN addition -> 'streak' WHEN counts_failures THEN jsonb_build_object(
'leading', 0, 'sawSuccess', false,
'trailing', failures + CASE WHEN since = newest THEN (was #>> '{streak,trailing}')::bigint ELSE 0 END)
ELSE was -> 'streak' END,
'hint', greatest(0, (was ->> 'hint')::float8 - as_of + was_as_of),
'lifetime', (
SELECT jsonb_object_agg(key, value::bigint + (was #>> ARRAY['lifetime', key])::bigint)
FROM jsonb_each_text(addition -> 'counts')
) || jsonb_strip_nulls(jsonb_build_object(${last("lastSuccess")},${last("lastFailure")}))
), ',"since":', CASE WHEN saw_success THEN next_success WHEN counts_failures THEN newest ELSE since END,
',"success":', CASE WHEN saw_success THEN next_success ELSE success END,
',"window":', CASE WHEN addition -> 'bucket' IS NULL THEN whole::text ELSE concat(
'[{"width":', width, ',"newest":', newest_bucket, ',"counts":[', array_to_string(
counts[:at] || ARRAY[${["success", "failure", "slow"].map((name, i) => count(name, i + 1)).join(", ")}]::text[]
|| counts[at + 4:], ','), ']', ',"shed":' || shed::text, '}]') END,
',"base":"', base, '"}') AS delta FROM places
)`
