#!/usr/bin/env bash
# Write the hash-locked requirement files anew from their .in files: requirements/lock.sh [uv's options]
#
# Versions that are locked stay as they are unless asked for: `requirements/lock.sh --upgrade`, or
# `--upgrade-package boto3`. The image's lock comes first; the host's and the developers' are made under
# it as constraints, so that one .venv holds all three and a version is never two things.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

uv=${UV:-.venv/bin/uv}
[ -x "$uv" ] || {
    printf 'lock: no uv at %s: run make setup, or set UV\n' "$uv" >&2
    exit 1
}
lock() { # lock IN OUT [options]
    local in=$1 out=$2
    shift 2
    # --universal: one file for every platform and Python from 3.11 on.
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --custom-compile-command 'requirements/lock.sh' "$@" "$in" -o "$out"
    printf '%s\n' "$out"
}
# What torch names but does not need for our work; docs/images.md says what leaving each out costs.
left_out=(--no-emit-package triton --no-emit-package cuda-bindings --no-emit-package cuda-pathfinder)
lock docker/train/requirements.in docker/train/requirements.txt "${left_out[@]}" "$@"
lock requirements/host.in requirements/host.txt -c docker/train/requirements.txt "$@"
lock requirements/dev.in requirements/dev.txt -c docker/train/requirements.txt "$@"
# Each client that tests/clients/ runs, in an environment of its own.
for client in boto3 awscli1 sagemaker2 sagemaker3; do
    lock "requirements/clients/$client.in" "requirements/clients/$client.txt" "$@"
done
