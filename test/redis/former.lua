local RECORD, WINDOW, LEASES, INSTANCES, HISTORY = unpack(KEYS)
local input = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local FIELDS = {'state', 'override', 'override_reason', 'override_actor', 'why', 'fingerprint', 'companions', 'format', 'generation', 'state_since', 'open_until', 'open_for', 'consecutive_openings', 'probe_successes', 'probes_from', 'override_until', 'retry_after_until', 'alert_until', 'called_at', 'consecutive_failures', 'total_requests', 'success_count', 'failure_count', 'ignored_count', 'timeout_count', 'slow_count', 'rejected_count', 'opened_count', 'last_success_time', 'last_success_duration', 'last_failure_time', 'last_failure_duration', 'opened_at', 'updated_at'}
local TEXTS = {state = true, override = true, override_reason = true, override_actor = true, why = true, fingerprint = true, companions = true}
local NEEDED = {format = true, generation = true, open_for = true, consecutive_openings = true, retry_after_until = true, consecutive_failures = true, success_count = true, failure_count = true, ignored_count = true, timeout_count = true, slow_count = true, rejected_count = true, opened_count = true, updated_at = true}
local function quoted(value)
return '"' .. string.gsub(string.sub(value, 1, 100), '%c', ' ') .. (#value > 100 and '…"' or '"')
end
local function fail(place, value, expected)
error('Redis ' .. place .. ' of circuit ' .. quoted(input.circuit) .. ' holds ' ..
(value and quoted(value) or 'nothing') .. ', expected ' .. expected, 0)
end
local function fail_length(field, value)
fail('field ' .. field, value, 'at most 65536 bytes')
end
local function text(n)
if n == math.floor(n) and n < 2 ^ 53 and n > -2 ^ 53 then return string.format('%.0f', n) end
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
return r.format <= 1
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
if #value > 65536 then fail_length(field, value) end
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
local called, rang = false, false
local outdated = {}
local ahead = known and writable(r) and math.max(0, r.updated_at - now) or 0
local stored_leases = known and r.leases or {}
if ahead > 0 then
for _, field in ipairs({ 'state_since', 'open_until', 'probes_from', 'override_until', 'retry_after_until',
'alert_until', 'called_at' }) do
if r[field] then r[field] = r[field] - ahead end
end
r.leases, r.updated_at, leased = {}, now, #stored_leases > 0
for i, lease in ipairs(stored_leases) do r.leases[i] = { name = lease.name, ends = lease.ends - ahead } end
end
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
local function created()
stored = {}
local fresh = circuit()
for field in pairs(NEEDED) do fresh[field] = 0 end
fresh.format, fresh.state, fresh.updated_at = 1, 'closed', now
return fresh
end
local function clear_evidence()
r.consecutive_failures, cleared = 0, true
r.alert_until, r.called_at = false, false
end
local function alert(suspect)
local runs = r.alert_until and now < r.alert_until
if not runs then r.called_at, called = now, true end
r.alert_until, r.updated_at = math.max(runs and r.alert_until or 0, now + suspect), now
end
local function next_generation(author)
return math.max(r.generation + 1, author + 1, math.floor(now * 1000))
end
local function lapsed_leases()
local lapsed = 0
for _, lease in ipairs(r.leases) do
if now >= lease.ends then lapsed = lapsed + 1 end
end
return lapsed
end
local function kept_leases()
local first = math.max(0, lapsed_leases() - 60) + 1
local kept = {}
for i = first, #r.leases do kept[#kept + 1] = r.leases[i] end
return kept
end
local function set_leases(leases)
r.leases, leased = leases, true
end
local function set_state(state)
r.state, r.open_until, r.probes_from = state, false, false
r.probe_successes = state == 'half_open' and 0
set_leases({})
end
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
local some = redis.call('HRANDFIELD', INSTANCES, 2, 'WITHVALUES')
for i = 1, #some, 2 do
local at = tonumber(string.match(some[i + 1], ' (%S+)$'))
if not at or now >= at + input.idle then redis.call('HDEL', INSTANCES, some[i]) end
end
end
local sums, widths = {}, {}
do
local of = {}
for i, within in ipairs(input.withins or {}) do
local width = input.widths[i]
local w = of[width]
if not w then
w = { width = width, kept = 60 * width, oldest = width, bounds = {}, members = {}, entered = {} }
w.pattern = '^(%-?%d+) ' .. text(width) .. ' (%d+) (%d+) (%d+)$'
of[width], widths[#widths + 1] = w, w
end
local span = math.max(within, width)
w.bounds[i], w.oldest = now - span, math.max(w.oldest, span)
sums[3 * i - 2], sums[3 * i - 1], sums[3 * i] = 0, 0, 0
end
end
local function add(w, start, success, failure, slow)
for i, bound in pairs(w.bounds) do
if start > bound then
local at = 3 * i
sums[at - 2], sums[at - 1], sums[at] = sums[at - 2] + success, sums[at - 1] + failure, sums[at] + slow
end
end
end
local function read_window(counts)
for _, w in ipairs(known and not cleared and widths or {}) do
local oldest = w.oldest
for _, counted in ipairs(counts) do oldest = math.max(oldest, counted.age + w.width) end
local found = redis.call('ZRANGEBYSCORE', WINDOW, '(' .. text(now - oldest + w.kept), text(now + w.kept))
for _, member in ipairs(found) do
local start, success, failure, slow = string.match(member, w.pattern)
if start then
start = start + 0
w.members[start] = member
add(w, start, success, failure, slow)
end
end
end
end
local function enter_in(w, counted)
local start = math.floor((now - math.max(0, counted.age)) / w.width) * w.width
if start + w.kept <= now then return end
local bucket = w.entered[start] or { 0, 0, 0 }
if w.members[start] then
local _, success, failure, slow = string.match(w.members[start], w.pattern)
bucket = { success + 0, failure + 0, slow + 0 }
outdated[#outdated + 1], w.members[start] = w.members[start], nil
end
bucket[1], bucket[2] = bucket[1] + counted.success, bucket[2] + counted.failure
bucket[3] = bucket[3] + counted.slow
w.entered[start] = bucket
add(w, start, counted.success, counted.failure, counted.slow)
end
local function enter(counts)
for _, w in ipairs(widths) do
for _, counted in ipairs(counts) do enter_in(w, counted) end
end
end
local function late_by(as_of)
return as_of and now - as_of > 2000 and now - as_of or 0
end
local function totals()
for i, sum in ipairs(sums) do sums[i] = text(sum) end
return sums
end
local function save_window()
if cleared then redis.call('DEL', WINDOW) end
redis.call('ZREMRANGEBYSCORE', WINDOW, '-inf', text(now))
if #outdated > 0 then redis.call('ZREM', WINDOW, unpack(outdated)) end
local added = {}
for _, w in ipairs(widths) do
for start, bucket in pairs(w.entered) do
added[#added + 1] = text(start + w.kept)
added[#added + 1] = string.format('%.0f %.0f %.0f %.0f %.0f', start, w.width, bucket[1], bucket[2], bucket[3])
end
end
if #added > 0 then redis.call('ZADD', WINDOW, unpack(added)) end
end
local function changed_fields()
local written, dropped, optional = {}, {}, {state_since = true, open_until = true, probe_successes = true, probes_from = true, override = true, override_reason = true, override_actor = true, override_until = true, why = true, fingerprint = true, companions = true, alert_until = true, called_at = true, total_requests = true, last_success_time = true, last_success_duration = true, last_failure_time = true, last_failure_duration = true, opened_at = true}
for i, field in ipairs(FIELDS) do
local value = r[field]
if type(value) == 'number' then value = text(value) end
values[i] = value
if not value then
if not optional[field] then fail('field ' .. field, nil, 'a value') end
if stored[field] then dropped[#dropped + 1] = field end
elseif value ~= stored[field] then
if #value > 65536 then fail_length(field, value) end
written[#written + 1], written[#written + 2] = field, value
end
end
return written, dropped
end
local function check_before_writing(is_change)
local overrides = {forced_open = true, disabled = true, metrics_only = true}
if stored.override and not overrides[stored.override] then
fail('field override', stored.override, 'one of forced_open, disabled, metrics_only')
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
redis.call('LTRIM', HISTORY, 0, 99)
end
local function save_expiry()
local at = expires_at(r)
local time = at < 2 ^ 53 and text(math.ceil(at))
for _, key in ipairs(KEYS) do
if time then redis.call('PEXPIREAT', key, time) else redis.call('PERSIST', key) end
end
end
local saved = false
local function save()
saved = true
r.total_requests = r.success_count + r.failure_count + r.ignored_count
r.companions = companions()
local is_change = r.generation ~= was.generation
local written, dropped = changed_fields()
check_before_writing(is_change)
if #written > 0 then redis.call('HSET', RECORD, unpack(written)) end
if not known or removed then
redis.call('DEL', unpack(known and { RECORD } or KEYS))
redis.call('HSET', RECORD, unpack(written))
elseif #dropped > 0 then
redis.call('HDEL', RECORD, unpack(dropped))
end
save_window()
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
redis.pcall('PUBLISH', input.channel, message)
end
end
local function reply(answer, sums)
if r == nil then return { input.request, answer, text(now), {}, {}, sums, 0, 0 } end
local leases = {}
for i, lease in ipairs(saved and r.leases or stored_leases) do leases[i] = text(lease.ends) end
local members = input.withins and redis.call('HLEN', INSTANCES) or 0
return { input.request, answer, text(now), values, leases, sums, rang and 1 or 0, members }
end
local answer = 'Counted'
local late = late_by(input.asOf)
for _, counted in ipairs(input.buckets or {}) do counted.age = counted.age + late end
read_window(input.buckets or {})
local counted = false
if input.counts and not is_repeat('report', input.instance, input.sequence) then
if (r and not writable(r)) or late > input.idle / 2 then
answer = 'Refused'
elseif input.generation > was.generation then
answer = 'Behind'
else
r = r or created()
acknowledge('report', input.instance, input.sequence)
local delta = input.lifetime
for _, kind in ipairs({ 'success', 'failure', 'ignored', 'timeout', 'slow', 'rejected' }) do
r[kind .. '_count'] = r[kind .. '_count'] + delta[kind]
end
set_last_calls(delta, function(age) return now - math.max(0, age + late) end)
if input.generation == r.generation then
enter(input.buckets)
local streak = input.streak
r.consecutive_failures = streak.trailing + (streak.sawSuccess and 0 or r.consecutive_failures)
if input.hint > late then r.retry_after_until = math.max(r.retry_after_until, now + (input.hint - late)) end
end
counted = true
end
end
local suspects = input.suspect and r and writable(r) and r.generation == input.generation and r.state == 'closed'
if suspects then alert(input.suspect) end
if counted or suspects then save() end
return reply(answer, totals())
