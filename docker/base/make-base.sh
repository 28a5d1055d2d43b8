#!/usr/bin/env bash
# Make a Debian base image without a container registry: debootstrap, then `docker import`.
#
#   docker/base/make-base.sh [--force] [--suite bookworm] [--mirror URL] [--security-mirror URL] [IMAGE]
#
# IMAGE defaults to drydock-base:bookworm. An IMAGE that is there already is kept, unless --force is given.
# Needs root (debootstrap makes device nodes and a chroot), debootstrap, and a Docker engine.
#
# Company networks: DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR name mirrors; http_proxy / https_proxy are
# respected by debootstrap and apt; for an https mirror behind a CA of its own, DRYDOCK_CA_BUNDLE (or
# SSL_CERT_FILE) names the bundle. None of these but the mirrors' addresses is left in the image.
set -Eeuo pipefail

fail() {
    printf 'make-base: %s\n' "$*" >&2
    exit 1
}

suite=bookworm
mirror=${DEBIAN_MIRROR:-} # debootstrap's own default
security_mirror=${DEBIAN_SECURITY_MIRROR:-}
image=
force=false
while [ $# -gt 0 ]; do
    case $1 in
        --force) force=true ;;
        --suite | --mirror | --security-mirror)
            [ $# -ge 2 ] || fail "$1 needs a value"
            case $1 in
                --suite) suite=$2 ;;
                --mirror) mirror=$2 ;;
                --security-mirror) security_mirror=$2 ;;
            esac
            shift
            ;;
        -h | --help)
            sed -n '2,/^set -E/{/^#/{s/^# \{0,1\}//;p}}' "$0"
            exit 0
            ;;
        -*) fail "unknown option $1; see --help" ;;
        *)
            [ -z "$image" ] || fail "one image name, not two: $image and $1"
            image=$1
            ;;
    esac
    shift
done
image=${image:-drydock-base:$suite}

# shellcheck source=docker/client.sh
. "$(dirname "$0")/../client.sh"
docker=$(docker_client) || exit 1

if ! $force && "$docker" image inspect "$image" > /dev/null 2>&1; then
    printf '%s is there already; --force makes it anew\n' "$image"
    exit 0
fi
command -v debootstrap > /dev/null || fail "debootstrap is not installed: apt-get install debootstrap"
[ "$(id -u)" -eq 0 ] || fail "debootstrap needs root: run it with sudo"

work=$(mktemp -d -t drydock-base.XXXXXXXX)
root=$work/root
cleanup() {
    # debootstrap mounts /proc and /sys in the tree while it works; rm must never follow those.
    local point
    for point in proc sys dev/pts dev; do
        if mountpoint -q "$root/$point"; then umount "$root/$point"; fi
    done
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT

bundle=${DRYDOCK_CA_BUNDLE:-${SSL_CERT_FILE:-}}
apt_options=()
if [ -n "$bundle" ]; then
    [ -f "$bundle" ] || fail "no CA bundle at $bundle (DRYDOCK_CA_BUNDLE or SSL_CERT_FILE)"
    # debootstrap fetches with wget, which reads this; apt in the chroot takes it as an option below.
    printf 'ca_certificate=%s\n' "$bundle" > "$work/wgetrc"
    export WGETRC=$work/wgetrc
    apt_options=(-o Acquire::https::CAInfo=/run/ca.crt)
fi

printf 'debootstrap %s from %s\n' "$suite" "${mirror:-its default mirror}"
log=$work/debootstrap.log
# ca-certificates: pip, boto3 and git-over-https in the image need the public roots anyway.
if ! debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" ${mirror:+"$mirror"} > "$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "debootstrap failed (its last lines are above); is ${mirror:-its mirror} reachable, and does it have $suite?"
fi
mirror=${mirror:-$(awk '$1 == "deb" { print $2; exit }' "$root/etc/apt/sources.list")}
# Beside each other, on Debian's own hosts as on full mirrors.
security_mirror=${security_mirror:-${mirror%/}-security}

cat > "$root/etc/apt/sources.list" << SOURCES
deb $mirror $suite main
deb $mirror $suite-updates main
deb $security_mirror $suite-security main
SOURCES
# As Debian's own slim images do: no documentation but the licences, no translations, no recommends.
cat > "$root/etc/dpkg/dpkg.cfg.d/slim" << 'SLIM'
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/lintian/*
SLIM
printf 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n' > "$root/etc/apt/apt.conf.d/slim"

# debootstrap takes the release as it was published; the fixes since then come from -updates and -security.
printf 'apply the updates since the release of %s\n' "$suite"
cp /etc/resolv.conf "$root/etc/resolv.conf"
if [ -n "$bundle" ]; then cp "$bundle" "$root/run/ca.crt"; fi
if ! {
    chroot "$root" apt-get "${apt_options[@]}" update &&
        DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get "${apt_options[@]}" --yes upgrade
} > "$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "apt-get failed in the new tree (its last lines are above)"
fi
chroot "$root" apt-get clean
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/debconf/*-old \
    "$root"/var/log/{apt,bootstrap.log,dpkg.log,alternatives.log} "$root"/run/ca.crt \
    "$root"/usr/share/{man,info,locale,lintian}/*
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
find "$root/usr/share/doc" -type d -empty -delete
# The engine writes these two for each container.
: > "$root/etc/resolv.conf"
: > "$root/etc/hostname"

version=$(cat "$root/etc/debian_version")
tar --create --numeric-owner --one-file-system --directory "$root" . |
    "$docker" import \
        --change 'CMD ["bash"]' \
        --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change "LABEL org.opencontainers.image.title=\"Debian $version ($suite), minbase\"" \
        --change "LABEL org.opencontainers.image.source=\"$mirror\"" \
        - "$image" > /dev/null
printf '%s made: Debian %s, %s\n' "$image" "$version" \
    "$("$docker" image inspect --format '{{.Size}}' "$image" | numfmt --to=si --suffix=B)"
