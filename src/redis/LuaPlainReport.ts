/**
 * The short way of a report, in Lua: most reports are of the circuit's generation, arrive in time, and meet a Closed or
 * Open circuit without an override. For these it does what `sync` in `Scripts.ts` does, and reads and writes no more than
 * they need. A law of the conformance suite compares both ways with `core/Report.ts`: change them together.
 *
 * **Invariants**
 *
 * - It answers only where it is sure, and has written nothing where it does not answer. Whatever is unusual, broken or
 *   unknown goes the long way, which also says what is wrong.
 * - The keys may expire later than the circuit does, by an eighth of the idle time, because not every report renews their
 *   expiry. A circuit that has expired is no circuit, whether Redis has removed its keys or not.
 */
import { FORMAT } from "../core/Record.ts"
import { TRANSIT_MILLIS } from "../core/Report.ts"
import { type Field, LONGEST_VALUE_BYTES, NUMBERS, OPTIONAL, PLAIN_FIELDS } from "./Fields.ts"

const numbers = PLAIN_FIELDS.filter((field) => (NUMBERS as ReadonlyArray<string>).includes(field))
const isOptional = (field: Field) => (OPTIONAL as ReadonlyArray<string>).includes(field)
const needed = numbers.filter((field) => !isOptional(field))
const optional = numbers.filter(isOptional)

/** The place of a field in the values that are read. */
const placeOf = (field: Field): number => PLAIN_FIELDS.indexOf(field) + 1

const LIFETIME = ["success", "failure", "ignored", "timeout", "slow", "rejected"] as const

/** Of how many reports one looks for instances that report no more, beside each report of a new instance. */
const FORGET_EVERY = 8

export const plainReport = `
-- As in \`core/Report.ts\`: how much older the outcomes are than the report says.
local function late_by(as_of)
  return as_of and now - as_of > ${TRANSIT_MILLIS} and now - as_of or 0
end

local function plain_report()
  local values = redis.call('HMGET', RECORD, ${PLAIN_FIELDS.map((field) => `'${field}'`).join(", ")})
  local ${PLAIN_FIELDS.join(", ")} = unpack(values, 1, ${PLAIN_FIELDS.length})

  -- Whether the circuit is plain, and can be read.
  if override or not (state == 'closed' or (state == 'open' and open_until)) then return end
  if not (${needed.join(" and ")}) then return end
  if why and (#why > ${LONGEST_VALUE_BYTES} or not string.find(why, '^{"reason":".*}$')) then return end
  if #(fingerprint or '') > ${LONGEST_VALUE_BYTES} or #(window_totals or '') > 1000 then return end
  local at = tonumber(updated_at)
  ${needed.filter((field) => field !== "updated_at").map((field) => `${field} = tonumber(${field})`).join("\n  ")}
  if not (at and ${needed.join(" and ")}) then return end
  -- It is no number if one of these is infinite.
  local sum = at + ${needed.filter((field) => field !== "updated_at").join(" + ")}
  if sum - sum ~= 0 or format > ${FORMAT} then return end
  ${
  optional.map((field) =>
    `if ${field} then
    ${field} = tonumber(${field})
    if not ${field} or ${field} - ${field} ~= 0 then return end
  end`
  ).join("\n  ")
}

  -- Whether the report is plain.
  if now < at or now >= at + input.idle then return end
  if input.counts and (generation ~= input.generation or late_by(input.asOf) > 0) then return end
  local members = redis.call('HLEN', INSTANCES)
  if members == 0 then return end
  local suspects = input.suspect and state == 'closed' and generation == input.generation
  if suspects and not (alert_until and now < alert_until) then return end

  local spans, buckets, slid = {}, 0, false
  if window_totals then
    local written_at, of_buckets
    spans, written_at, of_buckets = stored_spans(window_totals)
    buckets = redis.call('ZCARD', WINDOW)
    if written_at ~= updated_at or of_buckets ~= buckets then return end
    slid = slide(spans)
  end
  local asked = spans_within(spans, input.withins)
  if not asked then return end

  local counted = input.counts
  if counted then
    local seen = redis.call('HGET', INSTANCES, 'report:' .. input.instance)
    if seen then
      local sequence, seen_at = string.match(seen, '^(%d+) (%d[%d.]*)$')
      if not sequence then return end
      counted = now >= (tonumber(seen_at) or 0) + input.idle or input.sequence > sequence + 0
    end
  end

  local written = {}
  local function write(place, field, value)
    if value == values[place] then return end
    values[place] = value
    written[#written + 1], written[#written + 2] = field, value
  end

  if counted then
    local delta = input.lifetime
    ${
  LIFETIME.map((kind) =>
    `if delta.${kind} then write(${
      placeOf(`${kind}_count`)
    }, '${kind}_count', whole(${kind}_count + delta.${kind})) end`
  ).join("\n    ")
}
    written[#written + 1] = 'total_requests'
    written[#written + 1] = whole(success_count + failure_count + ignored_count +
      (delta.success or 0) + (delta.failure or 0) + (delta.ignored or 0))
    ${
  (["success", "failure"] as const).map((of) => {
    const [time, duration] = [`last_${of}_time`, `last_${of}_duration`] as const
    const name = of === "success" ? "Success" : "Failure"
    return `if delta.last${name}Age then
      local ended_at = now - math.max(0, delta.last${name}Age)
      if ended_at >= (${time} or -math.huge) then
        if ${duration} and not delta.last${name}Duration then return end
        write(${placeOf(time)}, '${time}', string.format('%.3f', ended_at))
        if delta.last${name}Duration then write(${
      placeOf(duration)
    }, '${duration}', text(delta.last${name}Duration)) end
      end
    end`
  }).join("\n    ")
}
    local streak = input.streak.trailing + (input.streak.sawSuccess and 0 or consecutive_failures)
    write(${placeOf("consecutive_failures")}, 'consecutive_failures', whole(streak))
    if input.hint > 0 and now + input.hint > retry_after_until then
      write(${placeOf("retry_after_until")}, 'retry_after_until', text(now + input.hint))
    end
    enter(spans, input.withins, input.buckets, true)
  end
  if suspects then
    write(${placeOf("alert_until")}, 'alert_until', text(math.max(alert_until, now + input.suspect)))
  end
  local time = string.format('%.3f', now)
  local reply = { input.request, 'Counted', time, values, {}, totals(asked), 0, members }
  if #written == 0 then return reply end

  -- From here on it writes.
  local is_first_bucket = buckets == 0 and #entered > 0
  if #entered > 0 then save_window(slid) end
  write(${placeOf("updated_at")}, 'updated_at', time)
  written[#written + 1], written[#written + 2] = 'companions', '1 0 0 ' .. time
  if #spans > 0 then
    buckets = slid and redis.call('ZCARD', WINDOW) or buckets + #entered / 2 - #outdated
    write(${placeOf("window_totals")}, 'window_totals', window_totals_of(spans, time, buckets))
  end
  redis.call('HSET', RECORD, unpack(written))
  if counted then
    local is_new = redis.call('HSET', INSTANCES, 'report:' .. input.instance, whole(input.sequence) .. ' ' .. time) == 1
    if is_new then reply[8] = members + 1 end
    if is_new or input.sequence % ${FORGET_EVERY} == 0 then forget_instances() end
  end
  local ends = now + input.idle
  if consecutive_openings > 0 then
    ends = math.max(ends, (state == 'open' and open_until or state_since or 0) + open_for)
  end
  if is_first_bucket or redis.call('PTTL', RECORD) <= ends - now then
    local late = text(math.ceil(ends + input.idle / 8))
    for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, late) end
  end
  return reply
end

local answered = plain_report()
if answered then return answered end
entered, outdated = {}, {}
`
