#!/usr/bin/env bash
# Print what the training image weighs and how long a change in src/ takes: docker/image-size.sh [IMAGE]
#
# IMAGE defaults to drydock-train:latest. The compressed size is what a registry keeps (Debian's docker-registry on
# loopback, for the time of the measurement); above the limit of 3.4 GB it is an error. The rebuild is timed on a
# copy of the sources with one line more, so the checkout and its images stay as they are.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

limit_gb=3.4
limit_seconds=30
image=${1:-drydock-train:latest}

# shellcheck source=docker/client.sh
. docker/client.sh
DOCKER=$(docker_client) || exit 1
export DOCKER
python=.venv/bin/python
[ -x "$python" ] || {
    printf 'image-size: no .venv: run make setup\n' >&2
    exit 1
}
"$DOCKER" image inspect "$image" > /dev/null 2>&1 || {
    printf 'image-size: no image %s: run make build\n' "$image" >&2
    exit 1
}
"$python" docker/registry.py size "$image" --limit "$limit_gb"

copy=$(mktemp -d -t drydock-rebuild.XXXXXXXX)
probe=drydock-train:rebuild-probe
cleanup() {
    rm -rf "$copy"
    "$DOCKER" image rm "$probe" > /dev/null 2>&1 || true # it was not built
}
trap cleanup EXIT
cp -r --parents src docker pyproject.toml README.md LICENSE .dockerignore "$copy"
printf '\n# %s\n' "$copy" >> "$copy/src/drydock/contract.py" # never cached: the name is new each time
begin=$(date +%s.%N)
"$copy/docker/build.sh" --tag "$probe" > "$copy/log" 2>&1 || {
    tail -n 20 "$copy/log" >&2
    exit 1
}
awk -v begin="$begin" -v end="$(date +%s.%N)" -v limit="$limit_seconds" 'BEGIN {
    printf "rebuild after a change in src/: %.1f s\n", end - begin
    exit end - begin > limit
}' || {
    printf 'image-size: the rebuild took longer than %d s\n' "$limit_seconds" >&2
    exit 1
}
