#!/bin/bash
# Builds the wheel, installs it with pip into a fresh environment, and uses it as somebody without a clone
# does: samples, brings everything up, trains, installs the wheel again over itself, removes it. Ends with 1,
# and with what the service said, if anything fails.
#
#   deploy/try-wheel.sh      PYTHON names the Python to make the environment with; .venv's by default
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
work=$(mktemp -d)
service=

finish() {
    local code=$?
    if [ -n "$service" ]; then kill "$service" && wait "$service" || true; fi
    if [ "$code" != 0 ] && [ -e "$work/log" ]; then tail -20 "$work/log" >&2; fi
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT
say() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

say "building"
"$python" -m pip wheel -q --no-deps -w "$work" "$root"
say "installing $(basename "$work"/charloom-*.whl)"
"$python" -m venv "$work/venv"
pip=("$work/venv/bin/python" -m pip --disable-pip-version-check)
"${pip[@]}" install -q --no-compile -c "$root/constraints.txt" "$work"/charloom-*.whl

# Only what somebody's shell says who knows nothing of a clone.
for variable in $(compgen -e | grep -E '^(CHARLOOM_|PYTHON|XDG_)'); do unset "$variable"; done
export HOME=$work/home PATH=$work/venv/bin:$PATH
data=$HOME/.local/share/charloom
if [ "$(uname)" = Darwin ]; then data="$HOME/Library/Application Support/charloom"; fi
mkdir "$HOME"
cd "$HOME"

say "charloom --version"
charloom --version
say "charloom sample --model linux, without a service"
charloom sample --model linux --length 200 --seed 1 | tee "$work/sample"
[ "$(wc -m < "$work/sample")" = 200 ]

say "charloom up"
charloom up --port 0 > "$work/log" 2>&1 &
service=$!
until url=$(grep -o 'charloom is at http[^ ]*' "$work/log"); do
    kill -0 "$service"
    sleep 0.2
done
url=${url##* }
grep -qF "$data" "$work/log"
say "curl -N '$url/sample?model=shakespeare'"
curl -fsN "$url/sample?model=shakespeare&prime=ROMEO:&length=200&seed=1"
say "its pages, and a model as one"
curl -fs -H 'Accept: text/html' "$url/" -o page
grep -q '<title>charloom' page
charloom models names --download names.html
say "charloom train"
cat "$root"/*.md > text
charloom train text --model tiny --max-seconds 10
charloom sample --model tiny --length 100
say "Ctrl-C"
kill -INT "$service"
wait "$service" || [ $? = 130 ]
service=

say "installing it again"
"${pip[@]}" install -q --no-deps --force-reinstall "$work"/charloom-*.whl
charloom models tiny | tee "$work/models"
grep -q '^tiny' "$work/models"
say "removing it, but for the data"
"${pip[@]}" uninstall -q -y charloom
[ ! -e "$work/venv/bin/charloom" ]
[ -d "$data/models/tiny" ]
say "all of it works"
