#!/bin/sh
# Starts Valkey, or else Redis, so that it keeps all it is told, with one user who may do what charloom does
# (and KEDA, which counts jobs) and no more. REDIS_PASSWORD is its password, of any characters.
set -eu
: "${REDIS_PASSWORD:?set it to a long random word}"
umask 077
users=${TMPDIR:-/tmp}/users.acl
# Only the password's hash, which no character of it can break out of.
hash=$(printf %s "$REDIS_PASSWORD" | sha256sum | cut -d' ' -f1)
cat > "$users" <<END
user default off
user charloom on #$hash resetchannels &rq:* ~rq:* ~charloom:* +@all -@admin -@dangerous +info +client|setname +client|list
END
unset REDIS_PASSWORD

server=$(command -v valkey-server || command -v redis-server)
mkdir -p "${REDIS_DATA:=/data/redis}"
exec "$server" --port "${REDIS_PORT:-6379}" --bind '*' --dir "$REDIS_DATA" --aclfile "$users" \
    --appendonly yes --appendfsync everysec --save '' --maxmemory-policy noeviction
