#!/bin/bash
# Starts docker-compose.yml with three servers and four workers, trains through the proxy, follows with
# Last-Event-ID, samples the same text from each, kills a server meanwhile, saves a backup. Ends with 1, and with
# what all said, if anything fails. Needs Docker with Compose, or Podman's socket in DOCKER_HOST.
#
#   deploy/try-compose.sh [ARGUMENT of up...]      such as --build, or --pull never
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
url=http://127.0.0.1:${PORT:-8117}
sed "s/^CHARLOOM_REDIS_PASSWORD=/&$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')/" .env.example > "$work/env"
echo "CHARLOOM_PUBLISH=${url#http://}" >> "$work/env"
compose() { docker compose -p charloom-try --env-file "$work/env" "$@"; }

finish() {
    local code=$?
    [ "$code" = 0 ] || compose logs --tail 20 >&2 || true
    compose down --volumes --timeout 20 > /dev/null 2>&1 || true
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT

say() { printf '\n== %s\n' "$*"; }
field() { python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }
sample() { curl -fs "$url/sample?model=$1&seed=1&length=300"; }

say "starting"
compose up -d --scale server=3 --scale worker=4 "$@" 2>&1 | tail -3
for _ in $(seq 300); do
    if [ "$(curl -s "$url/readyz" | field workers 2> /dev/null)" = 4 ]; then break; fi
    sleep 0.2
done
curl -fs "$url/readyz"

say "four jobs at a time"
cat ./*.md docs/*.md > "$work/text"
ids=()
for name in one two three four; do
    ids+=("$(curl -fs -F "corpus=@$work/text" -F "model=$name" -F max_seconds=15 "$url/train" | field id)")
done
curl -sN --max-time 60 "$url/jobs/${ids[0]}/events" | sed '/^id: 3$/q' > "$work/first" || true
last=$(sed -n 's/^id: //p' "$work/first" | tail -1)
say "killing a server; following on from event ${last:-0}"
docker kill charloom-try-server-2 > /dev/null
curl -fsN --max-time 300 -H "Last-Event-ID: ${last:-0}" "$url/jobs/${ids[0]}/events" > "$work/rest"
sed -n 's/^id: //p' "$work/first" "$work/rest" > "$work/ids"
tail -3 "$work/rest"
# Each event once, in order, whichever server told it.
seq "$(wc -l < "$work/ids")" | cmp - "$work/ids"
for id in "${ids[@]}"; do
    curl -fsN --max-time 300 "$url/jobs/$id/events" | tail -4 | grep -q '"finished"'
done

say "the same text from every server"
for _ in $(seq 12); do sample one | md5sum; done | sort | uniq -c | tee "$work/sums"
[ "$(wc -l < "$work/sums")" = 1 ]

say "backup"
docker exec charloom-try-server-1 python -m app.cli backup /data/backup.tar
docker exec charloom-try-server-1 python -m app.cli restore --check /data/backup.tar
say "all of it works"
