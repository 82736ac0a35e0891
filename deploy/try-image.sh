#!/bin/bash
# Builds the image, starts Redis, a server and a worker from it, each on a read-only root as uid 10001 without
# capabilities, and runs the README's lines: sample, train, follow. Says the image's size. Ends with 1, and
# with what the three said, if anything fails.
#
#   deploy/try-image.sh [ARGUMENT OF build...]     such as --build-arg PIP_EXTRA_INDEX_URL=…
#
# With Docker, or where it is not running with buildah as root, which needs neither cgroups nor a network.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
image=charloom
port=${PORT:-8017}
url=http://127.0.0.1:$port
work=$(mktemp -d)
password='with % @ : / and a space'
encoded='with%20%25%20%40%20%3A%20%2F%20and%20a%20space'
declare -A environment=(
    [CHARLOOM_REDIS_URL]=redis://charloom:$encoded@127.0.0.1:$((port + 1))/0
    [CHARLOOM_PORT]=$port
    [CHARLOOM_INSECURE]=1
    [REDIS_PASSWORD]=$password
    [REDIS_PORT]=$((port + 1))
)
parts=()

build() { docker build -t "$image" "$@" "$root"; }
size() { docker image ls --format '{{.Size}}' "$image"; }
start() { # NAME COMMAND…
    local name=$1 variables=() network=()
    shift
    for variable in "${!environment[@]}"; do variables+=(-e "$variable=${environment[$variable]}"); done
    if [ "$name" = redis ]; then network=(-p "127.0.0.1:$port:$port"); else network=(--network container:try-redis); fi
    docker run -d --name "try-$name" --read-only --tmpfs /tmp --cap-drop ALL --user 10001:10001 \
        --security-opt no-new-privileges:true -v try-data:/data -v "$root/deploy:/deploy:ro" \
        "${network[@]}" "${variables[@]}" "$image" "$@" > "$work/$name.id"
    parts+=("$name")
}
pid_of() { docker inspect --format '{{.State.Pid}}' "try-$1"; }
logs() { docker logs "try-$1" 2>&1; }
inside() { docker exec try-server "$@"; }
end() {
    for name in "${parts[@]}"; do docker rm -f "try-$name" > /dev/null; done
    docker volume rm try-data > /dev/null || true
}

use_buildah() {
    export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot} STORAGE_DRIVER=${STORAGE_DRIVER:-vfs}
    build() { buildah build --format docker -t "$image" "$@" "$root"; }
    size() { buildah images --format '{{.Size}}' "localhost/$image"; }
    # What Docker would do: a read-only root with /tmp, /proc, /dev and the volume, no capability, another user.
    enter() {
        [ -n "${mounted-}" ] || return 1
        # shellcheck disable=SC2016
        exec unshare --mount --pid --fork --kill-child bash -euc '
            root=$1 data=$2 code=$3
            shift 3
            mount --bind "$root" "$root"
            mkdir -p "$root/deploy"
            mount --bind "$code" "$root/deploy"
            mount --bind "$data" "$root/data"
            mount -t proc proc "$root/proc"
            mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
            mount --rbind /dev "$root/dev"
            mount -o remount,bind,ro "$root"
            cd "$root"
            exec chroot . setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --inh-caps=-all \
                --bounding-set=-all sh -c "cd /srv && exec \"\$@\"" sh "$@"
        ' bash "$mounted" "$work/data" "$root/deploy" "$@"
    }
    clean() { # Only what the image and the script say.
        local variables=(PATH=/opt/venv/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
            PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 CHARLOOM_DATA=/data)
        for variable in "${!environment[@]}"; do variables+=("$variable=${environment[$variable]}"); done
        for variable in $(compgen -e); do export -n "${variable?}"; done
        export "${variables[@]}"
        enter "$@"
    }
    start() {
        local name=$1
        shift
        if [ -z "${mounted-}" ]; then
            container=$(buildah from --pull-never "localhost/$image")
            mounted=$(buildah mount "$container")
            install -d -o 10001 -g 10001 "$work/data"
        fi
        (clean "$@") > "$work/$name.log" 2>&1 &
        parts+=("$!:$name")
    }
    pid_of() { # The innermost process.
        local pid child
        for part in "${parts[@]}"; do [ "${part#*:}" = "$1" ] && pid=${part%%:*}; done
        while child=$(pgrep -P "$pid" | head -1) && [ -n "$child" ]; do pid=$child; done
        echo "$pid"
    }
    logs() { cat "$work/$1.log"; }
    inside() { (clean "$@"); }
    end() {
        # The innermost: as another user it no longer dies with those above.
        local pids=()
        for part in "${parts[@]}"; do pids+=("$(pid_of "${part#*:}")"); done
        kill "${pids[@]}" 2> /dev/null || true
        for _ in $(seq 100); do
            kill -0 "${pids[@]}" 2> /dev/null || break
            sleep 0.2
        done
        kill -KILL "${pids[@]}" 2> /dev/null || true
        wait
        buildah rm "$container" > /dev/null
    }
}

finish() {
    local code=$?
    if [ "$code" != 0 ]; then
        for part in "${parts[@]}"; do
            echo "--- ${part#*:}"
            logs "${part#*:}" | tail -20
        done
    fi >&2
    if [ ${#parts[@]} != 0 ]; then end; fi
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT

say() { printf '\n== %s\n' "$*"; }
until_true() { # SECONDS COMMAND…
    local deadline=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || { echo "not in time: $*" >&2 && return 1; }
        sleep 0.2
    done
}
is_ready() { curl -fs "$url/readyz" | grep -q '"workers": *[1-9]'; }
confined() { # NAME
    local status
    status=/proc/$(pid_of "$1")/status
    grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs):' "$status" | tr -s '\t\n' ' '
    echo
    grep -qP '^Uid:\t10001\t10001' "$status"
    grep -qP '^CapEff:\t0+$' "$status"
    grep -qP '^CapBnd:\t0+$' "$status"
    grep -qP '^NoNewPrivs:\t1$' "$status"
}

docker info > /dev/null 2>&1 || use_buildah
say "building"
[ -n "${SKIP_BUILD-}" ] || build "$@"
say "size: $(size)"

if curl -s --max-time 2 "$url" > /dev/null; then echo "port $port is taken: set PORT" >&2 && exit 1; fi
say "starting"
# shellcheck disable=SC2016
start redis sh -c 'PATH=$PATH:$(dirname "$(python -c "from app.supervisor.valkey import server_binary as b; print(b())")")
    exec sh /deploy/kubernetes/base/redis-start.sh'
start server python -m app
start worker python -m worker
until_true 120 is_ready
for name in redis server worker; do
    printf '%-7s' "$name"
    confined "$name"
done
if inside touch /srv/written 2> /dev/null; then echo "the root can be written" >&2 && exit 1; fi

say "curl -N '$url/sample?model=linux&temperature=0.8'"
curl -fsN "$url/sample?model=linux&temperature=0.8&length=200"
say "curl '$url/names?model=names&starts_with=Ka&temperature=0.8' -H 'Accept: text/plain'"
curl -fs "$url/names?model=names&starts_with=Ka&temperature=0.8" -H 'Accept: text/plain'

say "curl -F corpus=@TEXT -F model=tiny -F max_seconds=20 $url/train"
cat "$root"/*.md "$root"/docs/*.md > "$work/text"
id=$(curl -fs -F "corpus=@$work/text" -F model=tiny -F max_seconds=20 "$url/train" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')
say "curl -N $url/jobs/$id/events"
curl -fsN --max-time 180 "$url/jobs/$id/events" > "$work/events"
grep -A1 '^event: \(notice\|evaluation\|checkpoint\|end\)' "$work/events" | cut -c1-160 | tail -8
tail -4 "$work/events" | grep -q '"finished"'
say "curl -N '$url/sample?model=tiny&prime=The&temperature=0.8'"
for run in 1 2; do curl -fsN "$url/sample?model=tiny&prime=The&temperature=0.8&length=300&seed=1" > "$work/sample$run"; done
cmp "$work/sample1" "$work/sample2"
cat "$work/sample1"

say "python -m app.cli backup, and restore --check"
inside python -m app.cli backup /data/backup.tar
inside python -m app.cli restore --check /data/backup.tar
say "all of it works"
