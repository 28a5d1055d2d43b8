# shellcheck shell=bash
# Sourced: docker_client prints the path of a Docker client that answers and can build with BuildKit.
#
# DOCKER names one outright. Else /usr/bin/docker (Debian's docker.io, which has BuildKit built in) before
# whatever is first on PATH: a client 23 or later without the buildx plugin cannot use BuildKit at all.
# Build with `DOCKER_BUILDKIT=1 "$docker" build`.

docker_client() {
    local candidate major reason='no docker client found: install docker.io (Debian) or set DOCKER=/path/to/docker'
    local candidates=("/usr/bin/docker" "docker")
    if [ -n "${DOCKER:-}" ]; then candidates=("$DOCKER"); fi
    for candidate in "${candidates[@]}"; do
        candidate=$(command -v "$candidate") || continue
        major=$("$candidate" version --format '{{.Client.Version}}' 2> /dev/null | cut -d. -f1)
        if ! "$candidate" version --format '{{.Server.Version}}' > /dev/null 2>&1; then
            reason="no Docker engine answers $candidate: start it (systemctl start docker), or see \`$candidate info\`"
        elif [ "${major:-0}" -ge 23 ] && ! "$candidate" buildx version > /dev/null 2>&1; then
            reason="$candidate ($major) cannot build: it needs the buildx plugin, or set DOCKER to a client that has BuildKit"
        else
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    printf 'docker: %s\n' "$reason" >&2
    return 1
}
