/**
 * The transitions of the core, in Lua, each one script that has a circuit to itself while it runs: what `Report.ts`,
 * `Change.ts`, `Lease.ts`, `Record.ts` and `Buckets.ts` say, by the server's clock. The suite's law on random histories holds
 * the two equal; whoever changes one changes the other.
 *
 * A script reads everything first and writes everything last, so that one that fails has written nothing. It touches the five
 * keys of one circuit, which are in one slot, and answers with the circuit's fields; what is to be read of them, the caller
 * makes of them with the core's own functions.
 */
import { createHash } from "node:crypto"
import { FORMAT } from "../core/Record.ts"
import { FIELDS, LONGEST, MOST_HISTORY, NUMBERS, OPTIONAL, overrideName, TEXTS } from "./Fields.ts"

export interface Script {
  readonly lua: string
  /** What Redis knows it by, once one of its servers has run it. */
  readonly digest: string
}

/** How many buckets of a width are kept, as in `Buckets.ts`. */
const MOST_BUCKETS = 60

const list = (words: ReadonlyArray<string>) => `{${words.map((word) => `'${word}'`).join(", ")}}`
const set = (words: ReadonlyArray<string>) => `{${words.map((word) => `${word} = true`).join(", ")}}`

const isOptional = (field: string): boolean => (OPTIONAL as ReadonlyArray<string>).includes(field)

const prelude = `
local RECORD, WINDOW, LEASES, INSTANCES, HISTORY = unpack(KEYS)
local input = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000

local FIELDS = ${list(FIELDS)}
local TEXTS = ${set(TEXTS)}

-- The shortest text that is read as the same number: Lua's own rounds generations.
local function text(n)
  if n == math.floor(n) and n < 2 ^ 53 and n > -2 ^ 53 then return string.format('%.0f', n) end
  for digits = 15, 16 do
    local short = string.format('%.' .. digits .. 'g', n)
    if tonumber(short) == n then return short end
  end
  return string.format('%.17g', n)
end

local function number(value, what)
  local n = string.find(value, '^%-?%d[%d.e+-]*$') and tonumber(value)
  if not n or n - n ~= 0 then error(what .. ' is no number') end
  return n
end

-- The texts that are stored: as they came, and by field.
local values, stored = {}, {}

-- The circuit: what a field holds is read when it is asked for, and false where there is nothing.
local function circuit()
  return setmetatable({ leases = {} }, {
    __index = function(r, field)
      local value = stored[field] or false
      if value and not TEXTS[field] then value = number(value, field) end
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
  return at
end

local function load()
  local found = false
  values = redis.call('HMGET', RECORD, unpack(FIELDS))
  for i, field in ipairs(FIELDS) do
    local value = values[i]
    if value then
      if #value > ${LONGEST} then error(field .. ' is too long') end
      stored[field], found = value, true
    end
  end
  if not found and redis.call('EXISTS', RECORD) == 0 then return nil end
  local r = circuit()
  if r.state == 'half_open' then
    local leases = redis.call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
    for i = 1, #leases, 2 do r.leases[#r.leases + 1] = { name = leases[i], ends = tonumber(leases[i + 1]) } end
  elseif r.state ~= 'closed' and not (r.state == 'open' and r.open_until) then
    error('the state makes no sense')
  end
  if now < expires_at(r) then return r end
  stored = {}
  return nil
end

local r = load()
local known = r ~= nil
local was = { generation = known and r.generation or 0, state = known and r.state or 'closed' }
local cleared, leased, removed, heard = false, false, false, nil
local entered, outdated = {}, {}

local function created()
  stored = {}
  local fresh = circuit()
  for _, field in ipairs(${list(NUMBERS.filter((field) => !isOptional(field)))}) do fresh[field] = 0 end
  fresh.format, fresh.state, fresh.updated_at = ${FORMAT}, 'closed', now
  return fresh
end

local function clear_evidence()
  r.consecutive_failures, cleared = 0, true
end

local function next_generation(author)
  return math.max(r.generation + 1, author + 1, math.floor(now * 1000))
end

local function live_leases()
  local live = {}
  if r.state ~= 'half_open' then return live end
  for _, lease in ipairs(r.leases) do
    if now < lease.ends then live[#live + 1] = lease end
  end
  return live
end

local function set_leases(leases)
  r.leases, leased = leases, true
end

local function set_state(state)
  r.state, r.open_until, r.probe_successes = state, false, state == 'half_open' and 0
  set_leases({})
end

-- What remains is counted from that long ago.
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

local function set_last_calls(told, time_of)
  local function set_last(of, age, duration)
    local at = age and time_of(age)
    if at and at >= (r['last_' .. of .. '_time'] or -math.huge) then
      r['last_' .. of .. '_time'], r['last_' .. of .. '_duration'] = at, duration or false
    end
  end
  set_last('success', told.lastSuccessAge, told.lastSuccessDuration)
  set_last('failure', told.lastFailureAge, told.lastFailureDuration)
end

-- Who was silent for the idle time is forgotten.
local function is_repeat(kind, instance, sequence)
  local entry = redis.call('HGET', INSTANCES, kind .. ':' .. instance)
  if not known or not entry then return false end
  local seen, at = string.match(entry, '^(%S+) (%S+)$')
  if not seen then error('the sequence of an instance makes no sense') end
  return now < number(at, 'the time of an instance') + input.idle and
    sequence <= number(seen, 'the sequence of an instance')
end

local function hear(kind, instance, sequence)
  heard = { kind .. ':' .. instance, text(sequence) .. ' ' .. text(now) }
  r.updated_at = now
end

-- A bucket of the window is a member 'start width success failure slow', scored by when it leaves the window: so those of
-- other widths lie beside it, and each leaves in its time.
local SPAN = ${MOST_BUCKETS} * (input.width or 0)
local BUCKET = '^(%-?%d+) ' .. text(input.width or 0) .. ' (%d+) (%d+) (%d+)$'
local sums, bounds, members = {}, {}, {}

local function add(start, success, failure, slow)
  for i, bound in ipairs(bounds) do
    if start > bound then
      local at = 3 * i
      sums[at - 2], sums[at - 1], sums[at] = sums[at - 2] + success, sums[at - 1] + failure, sums[at] + slow
    end
  end
end

-- Adds up what counts over each of the spans of time, and finds the buckets that a report may enter.
local function look(withins, counts, width)
  local oldest = width or 0
  for i, within in ipairs(withins) do
    -- What is shorter than a bucket is as long as one.
    local span = math.max(within, width)
    bounds[i], sums[3 * i - 2], sums[3 * i - 1], sums[3 * i] = now - span, 0, 0, 0
    oldest = math.max(oldest, span)
  end
  if not width or not known then return end
  for _, counted in ipairs(counts) do oldest = math.max(oldest, counted.age + width) end
  local found = redis.call('ZRANGEBYSCORE', WINDOW, '(' .. text(now - oldest + SPAN), text(now + SPAN))
  for _, member in ipairs(found) do
    local start, success, failure, slow = string.match(member, BUCKET)
    if start then
      start = start + 0
      members[start] = member
      add(start, success, failure, slow)
    end
  end
end

local function enter(counts, width)
  for _, counted in ipairs(counts) do
    -- An age below zero comes from a clock that was set back, and nothing ends in the future.
    local start = math.floor((now - math.max(0, counted.age)) / width) * width
    if start + SPAN > now then
      local bucket = entered[start] or { 0, 0, 0 }
      if members[start] then
        local _, success, failure, slow = string.match(members[start], BUCKET)
        bucket = { success + 0, failure + 0, slow + 0 }
        outdated[#outdated + 1], members[start] = members[start], nil
      end
      bucket[1], bucket[2] = bucket[1] + counted.success, bucket[2] + counted.failure
      bucket[3] = bucket[3] + counted.slow
      entered[start] = bucket
      add(start, counted.success, counted.failure, counted.slow)
    end
  end
end

local function totals()
  for i, sum in ipairs(sums) do sums[i] = text(sum) end
  return sums
end

local function save_window(width)
  if cleared then redis.call('DEL', WINDOW) end
  redis.call('ZREMRANGEBYSCORE', WINDOW, '-inf', text(now))
  if #outdated > 0 then redis.call('ZREM', WINDOW, unpack(outdated)) end
  local added = {}
  for start, bucket in pairs(entered) do
    added[#added + 1] = text(start + SPAN)
    added[#added + 1] = string.format('%.0f %.0f %.0f %.0f %.0f', start, width, bucket[1], bucket[2], bucket[3])
  end
  if #added > 0 then redis.call('ZADD', WINDOW, unpack(added)) end
end

local function remember()
  local row = '{"generation":' .. text(r.generation) .. ',"at":' .. text(now) ..
    ',"from":"' .. was.state .. '","to":"' .. r.state .. '"' ..
    (overridden(r) and ',"override":"' .. r.override .. '"' or '') ..
    ',"why":' .. (input.row or r.why or '{"reason":"not known"}') .. '}'
  redis.call('LPUSH', HISTORY, row)
  redis.call('LTRIM', HISTORY, 0, ${MOST_HISTORY - 1})
end

local function save()
  r.total_requests = r.success_count + r.failure_count + r.ignored_count
  local is_change = r.generation ~= was.generation
  local written, dropped, optional = {}, {}, ${set(OPTIONAL)}
  for i, field in ipairs(FIELDS) do
    local value = r[field]
    if type(value) == 'number' then value = text(value) end
    values[i] = value
    if not value then
      if not optional[field] then error(field .. ' is missing') end
      if stored[field] then dropped[#dropped + 1] = field end
    elseif value ~= stored[field] then
      if #value > ${LONGEST} then error(field .. ' is too long') end
      written[#written + 1], written[#written + 2] = field, value
    end
  end
  -- What could not be read again, or is of another type, must say so before anything is written.
  local overrides = ${set(Object.values(overrideName))}
  if stored.override and not overrides[stored.override] then error('the override makes no sense') end
  if stored.why and type(cjson.decode(stored.why).reason) ~= 'string' then error('why makes no sense') end
  redis.call('ZCARD', WINDOW)
  if leased then redis.call('ZCARD', LEASES) end
  if is_change then redis.call('LLEN', HISTORY) end

  if not known then
    redis.call('DEL', unpack(KEYS))
  elseif removed then
    redis.call('DEL', RECORD)
  end
  if #dropped > 0 then redis.call('HDEL', RECORD, unpack(dropped)) end
  if #written > 0 then redis.call('HSET', RECORD, unpack(written)) end
  save_window(input.width)
  if leased then
    redis.call('DEL', LEASES)
    for _, lease in ipairs(r.leases) do redis.call('ZADD', LEASES, text(lease.ends), lease.name) end
  end
  if heard then
    redis.call('HSET', INSTANCES, heard[1], heard[2])
    -- Two for each that may have been added, so that those who are silent go by and by.
    local some = redis.call('HRANDFIELD', INSTANCES, 2, 'WITHVALUES')
    for i = 1, #some, 2 do
      local at = tonumber(string.match(some[i + 1], ' (%S+)$'))
      if not at or now >= at + input.idle then redis.call('HDEL', INSTANCES, some[i]) end
    end
  end
  if is_change then remember() end
  local at = expires_at(r)
  local time = at < 2 ^ 53 and text(math.ceil(at))
  for _, key in ipairs(KEYS) do
    if time then redis.call('PEXPIREAT', key, time) else redis.call('PERSIST', key) end
  end
  if is_change then
    -- One that the user may not publish is lost, as others are.
    redis.pcall('PUBLISH', input.channel, cjson.encode({ circuit = input.circuit, generation = text(r.generation) }))
  end
end

local function answer(what, sums)
  if r == nil then return { what, text(now), {}, {}, sums } end
  local leases = {}
  for i, lease in ipairs(r.leases) do leases[i] = text(lease.ends) end
  return { what, text(now), values, leases, sums }
end
`

const sync = `
local what, width = 'Counted', input.width
look(input.withins, input.buckets or {}, width)
if input.counts and not is_repeat('report', input.instance, input.sequence) then
  if r and not writable(r) then
    what = 'Refused'
  elseif input.generation > was.generation then
    what = 'Behind'
  else
    r = r or created()
    hear('report', input.instance, input.sequence)
    local delta = input.lifetime
    for _, kind in ipairs({ 'success', 'failure', 'ignored', 'timeout', 'slow', 'rejected' }) do
      r[kind .. '_count'] = r[kind .. '_count'] + delta[kind]
    end
    set_last_calls(delta, function(age) return now - math.max(0, age) end)
    if input.generation == r.generation then
      if width then enter(input.buckets, width) end
      local streak = input.streak
      r.consecutive_failures = streak.trailing + (streak.sawSuccess and 0 or r.consecutive_failures)
      if input.hint > 0 then r.retry_after_until = math.max(r.retry_after_until, now + input.hint) end
    end
    save()
  end
end
return answer(what, totals())
`

const change = `
local what = 'Refused'

local function restore(snapshot, generation, age)
  local state = snapshot.state
  r.generation = generation
  set_state(state.name)
  if state.name == 'open' then r.open_until = now + state.remaining - age end
  if state.name == 'half_open' then r.probe_successes = state.successes end
  r.state_since = snapshot.elapsed and now - age - snapshot.elapsed or false
  r.consecutive_openings, r.open_for = snapshot.openings, snapshot.openFor
  set_override(snapshot.override, age)
  r.retry_after_until = now + snapshot.hint - age
  r.why, r.fingerprint = snapshot.why or false, snapshot.fingerprint or false
  -- Both know some of the same outcomes: the larger count is never too large, and counts nothing twice.
  for _, kind in ipairs({ 'success', 'failure', 'ignored', 'timeout', 'slow', 'rejected', 'opened' }) do
    r[kind .. '_count'] = math.max(r[kind .. '_count'], snapshot.lifetime[kind])
  end
  local function time_of(ago) return now - age - ago end
  set_last_calls(snapshot.lifetime, time_of)
  local opened_age = snapshot.lifetime.lastOpenedAge
  if opened_age then r.opened_at = math.max(r.opened_at or -math.huge, time_of(opened_age)) end
  r.updated_at = now
  clear_evidence()
end

local tags = {}

function tags.Trip()
  if now - input.asOf > input.maxAge or was.generation ~= input.generation then return end
  r = r or created()
  what = 'Committed'
  local generation = next_generation(input.generation)
  if input.opening then
    opened(generation, input.opening, input)
  else
    changed(generation, 'closed', input)
  end
  save()
end

function tags.PutBack()
  local snapshot = input.snapshot
  if was.generation >= snapshot.generation or input.age > input.idle or not writable(snapshot) then return end
  r = r or created()
  if not input.certain and snapshot.state.name == 'closed' and r.state == 'open' and now < r.open_until then
    -- A wrongly open circuit heals itself; but what an operator wanted last, the newer one knows.
    r.generation = next_generation(snapshot.generation)
    set_override(snapshot.override, input.age)
    r.updated_at = now
    clear_evidence()
  else
    what = 'Committed'
    restore(snapshot, snapshot.generation, input.age)
    if r.state == 'half_open' then
      for i, held in ipairs(input.leases) do r.leases[i] = { name = held.name, ends = now + held.remaining } end
    end
  end
  save()
end

local operations = {}

function operations.Override(generation)
  r.generation = generation
  -- Leases are of their generation: of the older one they could be neither settled nor counted.
  set_leases({})
  set_override(input.to, 0)
  clear_evidence()
end

function operations.ClearOverride(generation)
  operations.Override(generation)
end

function operations.Reset(generation)
  changed(generation, 'closed', input)
  r.state_since, r.consecutive_openings, r.open_for = now, 0, 0
end

function operations.HalfOpen(generation)
  changed(generation, 'half_open', input)
end

function operations.Remove(generation)
  r, removed = created(), true
  set_leases({})
  r.generation, r.state_since, r.why = generation, now, input.why
  clear_evidence()
end

function operations.Import(generation)
  restore(input.to.snapshot, generation, 0)
end

function tags.Operation()
  if is_repeat('operation', input.id, 0) then
    what = 'Committed'
    return
  end
  if input.to.snapshot and not writable(input.to.snapshot) then return end
  r = r or created()
  what = 'Committed'
  operations[input.to._tag](next_generation(input.known))
  hear('operation', input.id, 0)
  save()
end

if r == nil or writable(r) then tags[input._tag]() end
return answer(what, {})
`

const probe = `
local what = 'Refused'

local function ask()
  if r.generation < input.generation then return end
  local live = live_leases()
  for _, lease in ipairs(live) do
    if lease.name == input.name then
      what = 'Granted'
      return
    end
  end
  if is_repeat('ask', input.instance, input.sequence) or overridden(r) or r.state == 'closed' then return end
  if (r.state == 'open' and now < r.open_until) or #live >= input.probes then return end
  if r.state == 'open' then
    local author = { why = '{"reason":"the open time is over"}', fingerprint = input.fingerprint }
    changed(next_generation(r.generation), 'half_open', author)
  end
  what = 'Granted'
  live[#live + 1] = { name = input.name, ends = now + input.duration }
  set_leases(live)
  hear('ask', input.instance, input.sequence)
  save()
end

local function settle()
  if r.generation ~= input.generation or r.state ~= 'half_open' then return end
  local held, others = nil, {}
  for _, lease in ipairs(r.leases) do
    if lease.name == input.name then held = lease else others[#others + 1] = lease end
  end
  if held == nil or now >= held.ends then return end
  what = 'Granted'
  local outcome = input.outcome
  local author = { why = outcome.why, fingerprint = input.fingerprint }
  if outcome._tag == 'Failure' then
    r.retry_after_until = math.max(r.retry_after_until, now + outcome.hint)
    opened(next_generation(r.generation), outcome.opening, author)
  else
    local successes = r.probe_successes + (outcome._tag == 'Success' and 1 or 0)
    if outcome._tag == 'Success' and successes >= outcome.successes then
      changed(next_generation(r.generation), 'closed', author)
    else
      r.probe_successes, r.updated_at = successes, now
      set_leases(others)
    end
  end
  save()
end

if r and writable(r) then
  if input._tag == 'Ask' then ask() else settle() end
end
return answer(what, {})
`

const repair = `
if r == nil then return 0 end
local at, repaired = expires_at(r), 0
if at == math.huge then return 0 end
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) == -1 then
    redis.call('PEXPIREAT', key, text(math.ceil(at)))
    repaired = repaired + 1
  end
end
return repaired
`

const scriptOf = (body: string): Script => {
  const lua = prelude + body
  return { lua, digest: createHash("sha1").update(lua).digest("hex") }
}

/** What the operations of a storage run, by what they do. */
export const scripts = {
  sync: scriptOf(sync),
  change: scriptOf(change),
  probe: scriptOf(probe),
  repair: scriptOf(repair)
}
