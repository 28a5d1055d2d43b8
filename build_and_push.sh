#!/usr/bin/env bash
# Build the training image and push it: ./build_and_push.sh [--registry HOST:PORT | --region REGION] [--allow-dirty]
#
# Without --registry it goes to Amazon ECR, with boto3's own credentials and region (AWS_PROFILE, AWS_REGION, ...);
# the repository is made when missing. The tag is the git revision; a tree whose image would not be the commit's is
# refused, unless --allow-dirty, which marks the tag `-dirty`. What was pushed, by digest, is noted in
# build/images.json, where `jobs` finds the value of ${TRAIN_IMAGE}.
# The build's own variables (BASE_IMAGE, DRYDOCK_CA_BUNDLE, PIP_CONFIG_FILE, ...): docker/build.sh --help.
set -Eeuo pipefail
cd "$(dirname "$0")"

fail() {
    printf 'build_and_push: %s\n' "$*" >&2
    exit 1
}

allow_dirty=false
build=true
where=()
while [ $# -gt 0 ]; do
    case $1 in
        --allow-dirty) allow_dirty=true ;;
        --no-build) build=false ;; # the image is there already: `make push`
        --registry | --region | --record)
            [ $# -ge 2 ] || fail "$1 needs a value"
            where+=("$1" "$2")
            shift
            ;;
        -h | --help)
            sed -n '2,/^set -E/{/^#/{s/^# \{0,1\}//;p}}' "$0"
            exit 0
            ;;
        *) fail "unknown argument $1; see --help" ;;
    esac
    shift
done

python=.venv/bin/python
[ -x "$python" ] || fail "no .venv: run make setup"
tag=$(docker/build.sh --print-tag)
case $tag in
    *-dirty) $allow_dirty || fail "files of the image differ from the commit: commit them, or give --allow-dirty" ;;
    v*) fail "this is no git checkout, so the image has no revision to be tagged with" ;;
esac

# shellcheck source=docker/client.sh
. docker/client.sh
DOCKER=$(docker_client) || exit 1
export DOCKER
if $build; then docker/build.sh; fi
"$DOCKER" image inspect "drydock-train:$tag" > /dev/null 2>&1 ||
    fail "there is no drydock-train:$tag yet: run make build"
exec "$python" docker/registry.py push "drydock-train:$tag" "${where[@]}"
