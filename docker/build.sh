#!/usr/bin/env bash
# Build the training image of this checkout: docker/build.sh [--print-tag | --tag NAME:TAG]
#
# Tags: drydock-train:REVISION and drydock-train:latest, or just the one of --tag. REVISION is the commit's first 12
# digits, with `-dirty` behind it when a file that goes into the image differs from the commit. --print-tag prints
# REVISION and builds nothing.
#
# Environment, all optional:
#   BASE_IMAGE         the base image; without it debian:bookworm-slim where a registry answers (or it is here
#                      already), else drydock-base:bookworm, made by docker/base/make-base.sh
#   DRYDOCK_CA_BUNDLE  CA bundle that the build trusts (also read: PIP_CERT, SSL_CERT_FILE); a build secret
#   PIP_CONFIG_FILE    pip.conf for the build; a build secret. PIP_INDEX_URL works as well, by a pip.conf made of it
#   http_proxy ...     passed on as Docker's predefined build arguments, which leave no trace in the image
#   DRYDOCK_SOURCE_URL where the source lives, for the image's label; default: the remote `origin`
#   DOCKER             the docker client, see docker/client.sh
set -Eeuo pipefail
cd "$(dirname "$0")/.."

fail() {
    printf 'build: %s\n' "$*" >&2
    exit 1
}

public_base=debian:bookworm-slim
own_base=drydock-base:bookworm
name=drydock-train
# What docker/train/Dockerfile takes: a difference elsewhere in the tree makes no other image.
inputs=(src docker/train pyproject.toml README.md LICENSE .dockerignore)

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' src/drydock/__init__.py)
[ -n "$version" ] || fail "no __version__ in src/drydock/__init__.py"
if revision=$(git rev-parse HEAD 2> /dev/null); then
    created=$(TZ=UTC git show --no-patch --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd HEAD)
    tag=${revision:0:12}
    if [ -n "$(git status --porcelain -- "${inputs[@]}")" ]; then
        tag+=-dirty
        revision+=-dirty
    fi
else
    # A source archive: no history to name.
    revision=unknown created=1970-01-01T00:00:00Z tag=v$version
fi

tags=("$name:$tag" "$name:latest")
case ${1:-} in
    '') ;;
    --print-tag)
        printf '%s\n' "$tag"
        exit 0
        ;;
    --tag)
        [ $# -eq 2 ] || fail "--tag needs one name"
        tags=("$2")
        ;;
    -h | --help)
        sed -n '2,/^set -E/{/^#/{s/^# \{0,1\}//;p}}' "$0"
        exit 0
        ;;
    *) fail "unknown argument $1; see --help" ;;
esac

# shellcheck source=docker/client.sh
. docker/client.sh
docker=$(docker_client) || exit 1

base=${BASE_IMAGE:-}
if [ -n "$base" ]; then
    printf 'base image: %s, as BASE_IMAGE says\n' "$base"
elif "$docker" image inspect "$public_base" > /dev/null 2>&1; then
    base=$public_base
    printf 'base image: %s, which is here\n' "$base"
elif reason=$(timeout 120 "$docker" pull --quiet "$public_base" 2>&1); then
    base=$public_base
    printf 'base image: %s, pulled\n' "$base"
else
    base=$own_base
    printf 'base image: %s, by debootstrap, for %s cannot be pulled (%s)\n' \
        "$base" "$public_base" "$(tail -n 1 <<< "${reason:-no answer in 120 s}" | cut -c 1-200)"
    docker/base/make-base.sh "$base"
fi

work=$(mktemp -d -t drydock-build.XXXXXXXX)
trap 'rm -rf "$work"' EXIT
options=()
bundle=${DRYDOCK_CA_BUNDLE:-${PIP_CERT:-${SSL_CERT_FILE:-}}}
if [ -n "$bundle" ]; then
    [ -f "$bundle" ] || fail "no CA bundle at $bundle (DRYDOCK_CA_BUNDLE, PIP_CERT or SSL_CERT_FILE)"
    options+=(--secret "id=ca,src=$bundle")
fi
pip_config=${PIP_CONFIG_FILE:-}
if [ -z "$pip_config" ] && [ -n "${PIP_INDEX_URL:-}" ]; then
    pip_config=$work/pip.conf
    (umask 077 && printf '[global]\nindex-url = %s\n' "$PIP_INDEX_URL" > "$pip_config")
fi
if [ -n "$pip_config" ] && [ "$pip_config" != /dev/null ]; then
    [ -f "$pip_config" ] || fail "no pip configuration at $pip_config (PIP_CONFIG_FILE)"
    options+=(--secret "id=pip,src=$pip_config")
fi
for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    if [ -n "${!variable:-}" ]; then options+=(--build-arg "$variable"); fi
done
source_url=${DRYDOCK_SOURCE_URL:-$(git remote get-url origin 2> /dev/null || true)}
# A remote can carry a password, or be a folder of this machine: neither belongs in a label.
case $source_url in
    https://* | ssh://* | git@*) ;;
    *) source_url=unknown ;;
esac
if [[ $source_url =~ ^([a-z]+://)[^/@]*@(.*)$ ]]; then source_url=${BASH_REMATCH[1]}${BASH_REMATCH[2]}; fi

SECONDS=0
DOCKER_BUILDKIT=1 "$docker" build --file docker/train/Dockerfile \
    --build-arg "BASE_IMAGE=$base" \
    --build-arg "SOURCE=$source_url" --build-arg "REVISION=$revision" \
    --build-arg "VERSION=$version" --build-arg "CREATED=$created" \
    "${options[@]}" "${tags[@]/#/--tag=}" .
printf '%s built in %d s: %s\n' "${tags[*]}" "$SECONDS" \
    "$("$docker" image inspect --format '{{.Id}}' "${tags[0]}")"
