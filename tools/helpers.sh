#!/bin/sh
# Have the Debian programs that the island's helpers use, so that their tests run instead of being skipped.
#
# `make test` does this, `make run` does not. Only what is missing is installed, only by root and only where apt-get
# works; anything else is said, and is no failure. Services that the packages bring are neither started now nor at boot.
set -eu

say() { printf '%s\n' "skerry setup: $*" >&2; }

# program package
needed='wireguard-go wireguard-go
wg-quick wireguard-tools
openvpn openvpn
ss-server shadowsocks-libev
v2ray v2ray
ip iproute2
nft nftables
slirp4netns slirp4netns'
services='openvpn shadowsocks-libev v2ray'

# dpkg and half of the programs live where plain users do not look.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

missing=$(printf '%s\n' "$needed" | while read -r program package; do
    command -v "$program" >/dev/null || printf '%s ' "$package"
done)
missing=${missing% }
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "tests that need them are skipped until somebody installs: $missing"
    exit 0
fi

policy=/usr/sbin/policy-rc.d
kept=$policy.skerry
restore() {
    if [ -e "$kept" ]; then
        mv -f "$kept" "$policy"
    elif grep -qs '^# skerry' "$policy"; then
        rm -f "$policy"
    fi
}
# Whoever was killed in the middle of this has left it to us.
restore
trap restore EXIT
trap 'exit 1' INT TERM HUP
[ ! -e "$policy" ] || mv "$policy" "$kept"
printf '#!/bin/sh\n# skerry: packages being installed for tests start no services\nexit 101\n' >"$policy"
chmod 755 "$policy"

say "installing $missing"
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
apt-get update -qq >/dev/null 2>&1 || say "apt-get update failed; trying with the lists at hand"
# shellcheck disable=SC2086
if ! apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1; then
    say "apt-get could not install them all; trying one by one"
    for package in $missing; do
        apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 \
            || say "apt-get could not install $package; tests that need it are skipped"
    done
fi
for service in $services; do
    case " $missing " in
        *" $service "*)
            if command -v systemctl >/dev/null; then
                systemctl --quiet disable "$service" >/dev/null 2>&1 || say "$service may be started at boot"
            fi
            ;;
    esac
done
