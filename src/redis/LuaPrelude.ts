/**
 * The part that all scripts begin with: the transitions of `core/Record.ts` in Lua, by the server's clock. A law of the
 * conformance suite compares both on random histories: change them together.
 *
 * Invariants:
 *
 * - A script reads and checks first, and writes in `save` alone: a script that fails has written nothing.
 * - `r` is the circuit, or `nil` if there is none. `stored` has its fields as they are in Redis, so `save` writes only
 *   those that changed.
 * - `cleared`, `leased`, `removed`, `entry`, `spans`, `entered` and `outdated` are what `save` has to write beside the
 *   hash.
 */
import { MOST_LAPSED_LEASES } from "../core/Lease.ts"
import { FORMAT } from "../core/Record.ts"
import { overrideWord } from "../core/Words.ts"
import { FIELDS, LONGEST_VALUE_BYTES, MOST_HISTORY, NUMBERS, OPTIONAL, TEXTS } from "./Fields.ts"
import { window } from "./LuaWindow.ts"

const list = (words: ReadonlyArray<string>) => `{${words.map((word) => `'${word}'`).join(", ")}}`
const set = (words: ReadonlyArray<string>) => `{${words.map((word) => `${word} = true`).join(", ")}}`

const isOptional = (field: string): boolean => (OPTIONAL as ReadonlyArray<string>).includes(field)

/** The input of the script, and the time. */
const input = `
local RECORD, WINDOW, LEASES, INSTANCES, HISTORY = unpack(KEYS)
local input = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
`

/**
 * Numbers and their texts: the shortest text that is read as the same number, because Lua's own would round
 * generations.
 */
const numbers = `
local function whole(n)
  return string.format('%.0f', n)
end

local function text(n)
  if n == math.floor(n) and n < 2 ^ 53 and n > -2 ^ 53 then return whole(n) end
  for digits = 15, 16 do
    local short = string.format('%.' .. digits .. 'g', n)
    if tonumber(short) == n then return short end
  end
  return string.format('%.17g', n)
end

local function number(value)
  local n = string.find(value, '^%-?%d[%d.e+-]*$') and tonumber(value)
  return n and n - n == 0 and n
end
`

/** The fields, and the error that names a field of the circuit and its value. */
const fields = `
local FIELDS = ${list(FIELDS)}
local TEXTS = ${set(TEXTS)}
local NEEDED = ${set(NUMBERS.filter((field) => !isOptional(field)))}

local function quoted(value)
  return '"' .. string.gsub(string.sub(value, 1, 100), '%c', ' ') .. (#value > 100 and '…"' or '"')
end

local function fail(place, value, expected)
  error('Redis ' .. place .. ' of circuit ' .. quoted(input.circuit) .. ' holds ' ..
    (value and quoted(value) or 'nothing') .. ', expected ' .. expected, 0)
end

local function fail_length(field, value)
  fail('field ' .. field, value, 'at most ${LONGEST_VALUE_BYTES} bytes')
end
`

/**
 * Reading the circuit. A field is decoded when a script first uses it, and is `false` if it is missing. A circuit that
 * has expired is `nil`, whether Redis has removed its keys or not.
 */
const load = `
local values, stored = {}, {}

local function circuit()
  return setmetatable({ leases = {} }, {
    __index = function(r, field)
      local value = stored[field] or false
      if (value and not TEXTS[field]) or NEEDED[field] then
        value = value and number(value) or fail('field ' .. field, value, 'a number')
      end
      rawset(r, field, value)
      return value
    end
  })
end

local function backoff_ends_at(r)
  return (r.state == 'open' and r.open_until or r.state_since or 0) + r.open_for
end

local function openings_at(r)
  if r.state == 'closed' and now >= backoff_ends_at(r) then return 0 end
  return r.consecutive_openings
end

local function overridden(r)
  return r.override and now < (r.override_until or math.huge)
end

local function writable(r)
  return r.format <= ${FORMAT}
end

local function expires_at(r)
  if not writable(r) then return math.huge end
  local at = r.updated_at + input.idle
  if r.consecutive_openings > 0 then at = math.max(at, backoff_ends_at(r)) end
  if r.override then at = math.max(at, r.override_until or math.huge) end
  for _, lease in ipairs(r.leases) do at = math.max(at, lease.ends) end
  if r.probes_from then at = math.max(at, r.probes_from) end
  return at
end

-- What the field \`companions\` says, if it is of the last write: the senders, the leases, and the end of the last one.
local function companions_of(r)
  local senders, leases, last, at = string.match(r.companions or '', '^(%d) (%d+) (%S+) (%S+)$')
  if at and at == stored.updated_at then return senders, tonumber(leases), number(last) end
end

local function load_leases(r)
  local leases = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
  for i = 1, #leases, 2 do r.leases[#r.leases + 1] = { name = leases[i], ends = tonumber(leases[i + 1]) } end
  local _, count, last = companions_of(r)
  if not last then return end
  for i = #r.leases + 1, count do r.leases[i] = { name = 'lost ' .. i, ends = last } end
end

local function load()
  local found = false
  values = redis.call('HMGET', RECORD, unpack(FIELDS))
  for i, field in ipairs(FIELDS) do
    local value = values[i]
    if value then
      if #value > ${LONGEST_VALUE_BYTES} then fail_length(field, value) end
      stored[field], found = value, true
    end
  end
  if not found and redis.call('EXISTS', RECORD) == 0 then return nil end
  local r = circuit()
  if r.state == 'half_open' then
    load_leases(r)
  elseif r.state == 'open' then
    if not r.open_until then fail('field open_until', nil, 'a number') end
  elseif r.state ~= 'closed' then
    fail('field state', r.state, 'one of closed, open, half_open')
  end
  if now < expires_at(r) then return r end
  stored = {}
  return nil
end

local r = load()
local known = r ~= nil
local was = { generation = known and r.generation or 0, state = known and r.state or 'closed' }
local cleared, leased, removed, entry = false, false, false, nil
-- Whether an alert begins, and whether something was written that others must hear of.
local called, rang = false, false
-- The spans whose totals hold after this write.
local spans = {}

-- How far the clock was set back since the last write. The circuit's times are moved back with it.
local ahead = known and writable(r) and math.max(0, r.updated_at - now) or 0
-- The leases as they are in Redis.
local stored_leases = known and r.leases or {}

if ahead > 0 then
  for _, field in ipairs({ 'state_since', 'open_until', 'probes_from', 'override_until', 'retry_after_until',
    'alert_until', 'called_at' }) do
    if r[field] then r[field] = r[field] - ahead end
  end
  r.leases, r.updated_at, leased = {}, now, #stored_leases > 0
  for i, lease in ipairs(stored_leases) do r.leases[i] = { name = lease.name, ends = lease.ends - ahead } end
end
`

/**
 * Redis may evict `:instances` or `:leases` alone, and people may delete it. The field `companions` says whether
 * there are instances, how many leases there are, and when the last of them ends, as of `updated_at`. A version that does
 * not know the field writes another `updated_at`, so then nothing is concluded from it.
 *
 * - Without `:instances` a repeated report could not be recognised, so the evidence starts again from zero.
 * - A lease that is missing counts as one that runs, until the last of the leases would have ended: see `load_leases`.
 */
const companions = `
local function companions()
  local senders = entry ~= nil or (known and redis.call('EXISTS', INSTANCES) == 1)
  local last = 0
  for _, lease in ipairs(r.leases) do last = math.max(last, lease.ends) end
  return (senders and '1 ' or '0 ') .. #r.leases .. ' ' .. text(last) .. ' ' .. text(r.updated_at)
end

local function forget_evidence()
  r.consecutive_failures, cleared = 0, true
  for i, field in ipairs(FIELDS) do
    if field == 'consecutive_failures' then values[i] = '0' end
  end
end

if known and companions_of(r) == '1' and redis.call('EXISTS', INSTANCES) == 0 then forget_evidence() end
`

/** The transitions of a record that several scripts make. */
const transitions = `
local function created()
  stored = {}
  local fresh = circuit()
  for field in pairs(NEEDED) do fresh[field] = 0 end
  fresh.format, fresh.state, fresh.updated_at = ${FORMAT}, 'closed', now
  return fresh
end

local function clear_evidence()
  r.consecutive_failures, cleared = 0, true
  r.alert_until, r.called_at = false, false
end

-- As \`alerted\` in \`core/Record.ts\`.
local function alert(suspect)
  local runs = r.alert_until and now < r.alert_until
  if not runs then r.called_at, called = now, true end
  r.alert_until, r.updated_at = math.max(runs and r.alert_until or 0, now + suspect), now
end

local function next_generation(author)
  return math.max(r.generation + 1, author + 1, math.floor(now * 1000))
end

-- The leases are in the order of their ends, so those that have lapsed are the first.
local function lapsed_leases()
  local lapsed = 0
  for _, lease in ipairs(r.leases) do
    if now >= lease.ends then lapsed = lapsed + 1 end
  end
  return lapsed
end

local function kept_leases()
  local first = math.max(0, lapsed_leases() - ${MOST_LAPSED_LEASES}) + 1
  local kept = {}
  for i = first, #r.leases do kept[#kept + 1] = r.leases[i] end
  return kept
end

local function set_leases(leases)
  r.leases, leased = leases, true
end

local function set_state(state)
  r.state, r.open_until, r.probes_from = state, false, false
  r.probe_successes, r.probe_failures = state == 'half_open' and 0, false
  set_leases({})
end

-- The override's remaining time is as of \`age\` ago.
local function set_override(override, age)
  override = override or {}
  r.override, r.override_reason = override.kind or false, override.reason or false
  r.override_actor = override.actor or false
  r.override_until = override.remaining and now + override.remaining - age or false
end

local function changed(generation, state, author)
  local openings = openings_at(r)
  if state ~= 'closed' or r.state ~= 'closed' then r.state_since = now end
  r.generation, r.consecutive_openings, r.updated_at = generation, openings, now
  r.why, r.fingerprint = author.why, author.fingerprint or r.fingerprint
  if not overridden(r) then set_override(nil) end
  if state == 'closed' then r.retry_after_until = 0 end
  set_state(state)
  clear_evidence()
end

local function opened(generation, opening, author)
  local open_for = math.min(opening.maxOpenFor, math.max(opening.openFor, r.retry_after_until - now))
  changed(generation, 'open', author)
  r.open_until, r.open_for = now + open_for, open_for
  r.consecutive_openings, r.opened_count, r.opened_at = r.consecutive_openings + 1, r.opened_count + 1, now
end

local function set_last_calls(calls, time_of)
  local function set_last(of, age, duration)
    local at = age and time_of(age)
    if at and at >= (r['last_' .. of .. '_time'] or -math.huge) then
      r['last_' .. of .. '_time'], r['last_' .. of .. '_duration'] = at, duration or false
    end
  end
  set_last('success', calls.lastSuccessAge, calls.lastSuccessDuration)
  set_last('failure', calls.lastFailureAge, calls.lastFailureDuration)
end
`

/**
 * An instance that was silent for the idle time is forgotten: two random entries are checked for each that may have been
 * added, so the hash does not grow without end.
 */
const forgetting = `
local function forget_instances()
  local some = redis.call('HRANDFIELD', INSTANCES, 2, 'WITHVALUES')
  for i = 1, #some, 2 do
    local at = tonumber(string.match(some[i + 1], ' (%S+)$'))
    if not at or now >= at + input.idle then redis.call('HDEL', INSTANCES, some[i]) end
  end
end
`

/** The newest message of each instance, so that none counts twice. */
const instances = `
local function is_repeat(kind, instance, sequence)
  local field = kind .. ':' .. instance
  local value = redis.call('HGET', INSTANCES, field)
  if not known or not value then return false end
  local seen, at = string.match(value, '^(%S+) (%S+)$')
  seen, at = seen and number(seen), seen and number(at)
  if not seen or not at then fail('instance ' .. field, value, 'a sequence and a time') end
  return now < at + input.idle and sequence <= seen
end

local function acknowledge(kind, instance, sequence)
  entry = { kind .. ':' .. instance, text(sequence) .. ' ' .. text(now) }
  r.updated_at = now
end

local function save_instance()
  redis.call('HSET', INSTANCES, entry[1], entry[2])
  forget_instances()
end
`

/** Writing the circuit. Everything that could fail is checked before the first write. */
const save = `
-- The fields to write, as arguments of HSET, and those to delete.
local function changed_fields()
  local written, dropped, optional = {}, {}, ${set(OPTIONAL)}
  for i, field in ipairs(FIELDS) do
    local value = r[field]
    if type(value) == 'number' then value = text(value) end
    values[i] = value
    if not value then
      if not optional[field] then fail('field ' .. field, nil, 'a value') end
      if stored[field] then dropped[#dropped + 1] = field end
    elseif value ~= stored[field] then
      if #value > ${LONGEST_VALUE_BYTES} then fail_length(field, value) end
      written[#written + 1], written[#written + 2] = field, value
    end
  end
  return written, dropped
end

-- Fails for fields that the instances could not decode, and for keys of another type.
local function check_before_writing(is_change)
  local overrides = ${set(Object.values(overrideWord))}
  if stored.override and not overrides[stored.override] then
    fail('field override', stored.override, 'one of ${Object.values(overrideWord).join(", ")}')
  end
  if stored.why then
    local is_json, why = pcall(cjson.decode, stored.why)
    if not is_json or type(why) ~= 'table' or type(why.reason) ~= 'string' then
      fail('field why', stored.why, 'a JSON object with a reason')
    end
  end
  redis.call('ZCARD', WINDOW)
  if leased then redis.call('ZCARD', LEASES) end
  if is_change then redis.call('LLEN', HISTORY) end
end

local function save_history()
  local row = '{"generation":' .. text(r.generation) .. ',"at":' .. text(now) ..
    ',"from":"' .. was.state .. '","to":"' .. r.state .. '"' ..
    (overridden(r) and ',"override":"' .. r.override .. '"' or '') ..
    ',"why":' .. (input.row or r.why or '{"reason":"not known"}') .. '}'
  redis.call('LPUSH', HISTORY, row)
  redis.call('LTRIM', HISTORY, 0, ${MOST_HISTORY - 1})
end

local function save_expiry()
  local at = expires_at(r)
  local time = at < 2 ^ 53 and text(math.ceil(at))
  for _, key in ipairs(KEYS) do
    if time then redis.call('PEXPIREAT', key, time) else redis.call('PERSIST', key) end
  end
end

-- The number of buckets is known once they are written.
local function save_totals()
  if #spans == 0 then return end
  local value = window_totals_of(spans, text(r.updated_at), redis.call('ZCARD', WINDOW))
  redis.call('HSET', RECORD, 'window_totals', value)
  values[${FIELDS.indexOf("window_totals") + 1}] = value
end

local saved = false

local function save()
  saved = true
  r.total_requests = r.success_count + r.failure_count + r.ignored_count
  r.companions = companions()
  if #spans == 0 then r.window_totals = false end
  local is_change = r.generation ~= was.generation
  local written, dropped = changed_fields()
  check_before_writing(is_change)

  -- Without memory Redis refuses this write, and would refuse none behind one that it has allowed, such as DEL.
  if #written > 0 then redis.call('HSET', RECORD, unpack(written)) end
  if not known or removed then
    redis.call('DEL', unpack(known and { RECORD } or KEYS))
    redis.call('HSET', RECORD, unpack(written))
  elseif #dropped > 0 then
    redis.call('HDEL', RECORD, unpack(dropped))
  end
  if cleared then redis.call('DEL', WINDOW) end
  save_window(true)
  save_totals()
  if leased then
    redis.call('DEL', LEASES)
    for _, lease in ipairs(r.leases) do redis.call('ZADD', LEASES, text(lease.ends), lease.name) end
  end
  if entry then save_instance() end
  if is_change then save_history() end
  save_expiry()
  rang = is_change or called
  if rang then
    local alert = called and { remaining = r.alert_until - now, since = 0 } or nil
    local message = cjson.encode({ circuit = input.circuit, generation = text(r.generation), alert = alert })
    -- The user may lack the right to publish. Other instances then learn of the change from their next report.
    redis.pcall('PUBLISH', input.channel, message)
  end
end
`

/**
 * The reply: the request, the answer, the time, the fields and the ends of the leases as they are in Redis now, the
 * totals of the window, whether others must hear of it, and how many instances have sent something.
 */
const reply = `
local function reply(answer, sums)
  if r == nil then return { input.request, answer, text(now), {}, {}, sums, 0, 0 } end
  local leases = {}
  for i, lease in ipairs(saved and r.leases or stored_leases) do leases[i] = text(lease.ends) end
  local members = input.withins and redis.call('HLEN', INSTANCES) or 0
  return { input.request, answer, text(now), values, leases, sums, rang and 1 or 0, members }
end
`

/** The beginning of a script, which loads the circuit. The Lua code `short` runs before that, and may return the answer. */
export const preludeWith = (short = ""): string =>
  [input, numbers, forgetting, window, short, fields, load, companions, transitions, instances, save, reply].join("")

/** The part that a script begins with which reads no circuit. */
export const inputOnly = input
