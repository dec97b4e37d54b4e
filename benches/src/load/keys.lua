-- Keys by their SHA-256 in one shared dictionary, two-counter sliding windows in another: what a gateway written in Lua
-- for nginx does for each request. Read by the load comparison; the limit is so high that none refuses.
local ffi = require "ffi"
ffi.cdef [[ unsigned char *SHA256(const unsigned char *d, size_t n, unsigned char *md); ]]

local digest = ffi.new("unsigned char[32]")
local window, limit = 60, 2000000000
local keys, counters = ngx.shared.keys, ngx.shared.counters
local keys_module = {}

local function hash(key)
    ffi.C.SHA256(key, #key, digest)
    return ffi.string(digest, 32)
end

local function admits(subject, now)
    local turn = math.floor(now / window)
    local used = counters:incr(subject .. ":" .. turn, 1, 0, 2 * window)
    local before = counters:get(subject .. ":" .. (turn - 1)) or 0
    return before * (1 - now / window + turn) + (used or limit) <= limit
end

function keys_module.read(file)
    local number = 0
    for key in io.lines(file) do
        number = number + 1
        assert(keys:safe_set(hash(key), number))
    end
end

function keys_module.check()
    local bearer = ngx.var.http_authorization
    local id = bearer and string.sub(bearer, 1, 7) == "Bearer " and keys:get(hash(string.sub(bearer, 8)))
    if not id then
        return ngx.exit(403)
    end
    local now = ngx.now()
    if not (admits("key:" .. id, now) and admits("address:" .. ngx.var.remote_addr, now) and admits("app:benchmark", now)) then
        return ngx.exit(429)
    end
    ngx.var.key_id = id
end

return keys_module
