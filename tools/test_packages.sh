#!/bin/sh
# Debian packages that tests use when they are there: OpenSSH's client and sftp-server, the programs of VPN relays, and
# the compiler that installing code-server takes.
# Tests that lack them are skipped with the reason, so this never fails; it installs what is missing where that is
# possible. Services that the packages bring are started neither now nor at boot.
set -u

say() { printf '%s\n' "skerry setup: $*" >&2; }

# dpkg's helpers and half of the programs live where plain users do not look.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

missing=
want() { command -v "$1" >/dev/null || missing="$missing $2"; }
want ssh openssh-client
[ -x /usr/lib/openssh/sftp-server ] || [ -x /usr/libexec/openssh/sftp-server ] || [ -x /usr/lib/ssh/sftp-server ] ||
    missing="$missing openssh-sftp-server"
want ip iproute2
want nft nftables
want slirp4netns slirp4netns
want wireguard-go wireguard-go
want wg-quick wireguard-tools
want openvpn openvpn
want ss-server shadowsocks-libev
want v2ray v2ray
want g++ g++
want make make
# A browser is big (350 MB) and one test's: only where it is asked for.
[ -z "${SKERRY_TEST_BROWSER:-}" ] || command -v chromium >/dev/null || missing="$missing chromium"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "some tests will be skipped for want of$missing"
    exit 0
fi
say "installing$missing for the tests"

policy=/usr/sbin/policy-rc.d
kept=$policy.skerry
restore() {
    if [ -e "$kept" ]; then
        mv -f "$kept" "$policy"
    elif grep -qs '^# skerry' "$policy"; then
        rm -f "$policy"
    fi
}
# Somebody may have been killed in the middle of this.
restore
trap restore EXIT
trap 'exit 1' INT TERM HUP
[ ! -e "$policy" ] || mv "$policy" "$kept"
printf '#!/bin/sh\n# skerry: packages being installed for tests start no services\nexit 101\n' >"$policy"
chmod 755 "$policy"

DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
apt-get update -qq >/dev/null 2>&1 || say "apt-get update failed; trying with the lists at hand"
for package in $missing; do
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 ||
        say "apt-get could not install $package; some tests will be skipped"
    case $package in
        openvpn | shadowsocks-libev | v2ray)
            # Their own servers, with configurations of their own, are none of ours.
            ! command -v systemctl >/dev/null || systemctl --quiet disable "$package" >/dev/null 2>&1 || true
            ;;
    esac
done
exit 0
