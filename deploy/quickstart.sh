#!/usr/bin/env bash
# A working gateway on this machine: starts an upstream that echoes and `portcullis serve` in front of it, issues a key
# through the API, shows one request let through, one refused and one limited, and stays up until Ctrl-C.
#
# What it made is kept in .run/ and used again the next time.
#
# usage: deploy/quickstart.sh PATH/TO/portcullis
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly portcullis=${1:?usage: deploy/quickstart.sh PATH/TO/portcullis}
readonly run=.run
readonly control=http://127.0.0.1:7070
readonly gateway=http://127.0.0.1:7080
readonly admin=http://127.0.0.1:7090
readonly app=internal-api
readonly token_file=$run/management-token

if [ -t 1 ]; then bold=$'\033[1m' dim=$'\033[2m' plain=$'\033[0m'; else bold='' dim='' plain=''; fi
readonly bold dim plain

say() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
fail() {
    printf 'quickstart: %s\n' "$@" >&2
    exit 1
}

pids=()
# Asks everything that was started to end, and waits for it: the gateway finishes what is in flight.
# shellcheck disable=SC2317 # The traps call it.
stop() {
    trap - EXIT
    trap '' INT TERM
    if [ "${#pids[@]}" -gt 0 ]; then
        kill -TERM "${pids[@]}" 2>/dev/null || true
        wait "${pids[@]}" 2>/dev/null || true
    fi
}
trap stop EXIT
trap 'stop; printf "\nstopped; %s is kept for the next time\n" "$run"; exit 0' INT TERM

# Starts a command with its output in a log. In a process group of its own, so that Ctrl-C reaches it through `stop` alone.
start() {
    local log=$1
    shift
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    pids+=("$!")
    set +m
}

is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# api METHOD PATH [BODY]: calls the control API; the answer is in $body, its status in $status. The token is not an
# argument of curl, where every user of this machine could read it.
api() {
    local answer
    answer=$(curl -sS -X "$1" "$control$2" ${3:+--data "$3"} -H 'Content-Type: application/json' \
        -H @<(printf 'Authorization: Bearer %s\n' "$(<"$token_file")") -w '\n%{http_code}') || fail "$1 $2: no answer"
    status=${answer##*$'\n'}
    body=${answer%$'\n'*}
}

# expect STATUS WHAT: ends the script when the last call was answered otherwise.
expect() { [ "$status" = "$1" ] || fail "$2: answered $status instead of $1" "$body"; }

# make_once LIST SLUG BODY: creates what is not there yet from an earlier run.
make_once() {
    api GET "$1/$2"
    if [ "$status" = 200 ]; then
        echo "${dim}$2 is there already${plain}"
        return
    fi
    api POST "$1" "$3"
    expect 201 "create $2"
    echo "POST $1  $3"
}

# show WHAT [CURL ARGUMENT...]: sends one request through the gateway and prints what matters of the answer.
show() {
    say "$1"
    shift
    local answer
    answer=$(curl -sS -i "$@" "$gateway/v1/hello") || fail "the gateway does not answer"
    answer=${answer//$'\r'/}
    printf '%s\n' "$answer" | grep -i -E '^(HTTP/|ratelimit|retry-after)'
    # The body: the identity headers that the upstream saw, or the refusal.
    printf '%s\n' "${answer#*$'\n\n'}" | grep -i -o -E '\["x-wacht[^]]*\]|^\{"errors".*' || true
}

[ -x "$portcullis" ] || fail "$portcullis is not there: build it first (make run does)"
for port in 3000 7070 7080 7081 7090; do
    ! is_taken "$port" || fail "port $port is in use: end what listens there, and run this again"
done

umask 077
mkdir -p "$run"
if [ ! -e "$token_file" ]; then
    [ ! -e "$run/portcullis.db" ] || fail "$run has a database but no token: delete $run, and run this again"
    printf 'quickstart_%s' "$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')" >"$token_file"
fi

say 'Starting an upstream on :3000, and the gateway in front of it'
start "$run/echo.log" "$portcullis" echo --listen 127.0.0.1:3000
PORTCULLIS_BOOTSTRAP_TOKEN=$(<"$token_file")
export PORTCULLIS_BOOTSTRAP_TOKEN PORTCULLIS__CONTROL__STORE="sqlite://$run/portcullis.db"
start "$run/portcullis.log" "$portcullis" serve --config config/quickstart.toml
unset PORTCULLIS_BOOTSTRAP_TOKEN
for attempt in {1..150}; do
    for pid in "${pids[@]}"; do
        kill -0 "$pid" 2>/dev/null || fail "it did not start:" "$(tail -n 20 "$run"/*.log)"
    done
    [ "$(curl -s -o /dev/null -w '%{http_code}' "$admin/readyz" || true)" != 200 ] || break
    [ "$attempt" -lt 150 ] || fail "it is not ready after 30 s:" "$(tail -n 20 "$run/portcullis.log")"
    sleep 0.2
done
echo "ready; logs are in $run/"

say 'Through the API: a scheme of 5 requests per 10 seconds, an app, a key'
make_once /api-auth/rate-limit-schemes demo \
    '{"slug":"demo","name":"Demo","rules":[{"unit":"second","duration":10,"max_requests":5,"mode":"per_key"}]}'
make_once /api-auth/apps "$app" \
    '{"app_slug":"internal-api","name":"Internal API","key_prefix":"demo","rate_limit_scheme_slug":"demo"}'
api POST "/api-auth/apps/$app/keys" '{"name":"quickstart","metadata":{"team":"demo"}}'
expect 201 'create a key'
key=$(sed -n 's/.*"secret":"\([^"]*\)".*/\1/p' <<<"$body")
echo "POST /api-auth/apps/$app/keys  {\"name\":\"quickstart\",\"metadata\":{\"team\":\"demo\"}}"
echo "the key, shown once: $bold$key$plain"

show 'Let through: a request with the key, and who the upstream was told it is' -H "Authorization: Bearer $key"
show 'Refused: a request without a key'
show 'Refused: a request with a key that was never issued' -H 'Authorization: Bearer demo_wrong'
for _ in {1..4}; do
    curl -sS -o /dev/null "$gateway/v1/hello" -H "Authorization: Bearer $key"
done
show 'Limited: the sixth request within 10 seconds' -H "Authorization: Bearer $key"

say 'It is running. Try:'
cat <<TRY
  export KEY=$key
  curl -i $gateway/v1/hello -H "Authorization: Bearer \$KEY"

  export PORTCULLIS_TOKEN=\$(cat $token_file)      # the management token
  $portcullis keys list $app
  printf %s "\$KEY" | $portcullis verify           # what a gateway would decide, and why
  curl $control/openapi.json
  curl $admin/metrics

Ctrl-C ends it.
TRY

# Both run until Ctrl-C; one that ends by itself is a failure.
wait -n "${pids[@]}" || true
fail "a process ended by itself:" "$(tail -n 20 "$run"/*.log)"
