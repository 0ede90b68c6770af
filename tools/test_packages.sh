#!/bin/sh
# Debian packages that tests use when they are there: OpenSSH's client and sftp-server. Tests that lack them are skipped
# with the reason, so this never fails; it installs what is missing where that is possible.
set -u

say() { printf '%s\n' "skerry setup: $*" >&2; }

missing=
command -v ssh >/dev/null || missing="$missing openssh-client"
[ -x /usr/lib/openssh/sftp-server ] || [ -x /usr/libexec/openssh/sftp-server ] || [ -x /usr/lib/ssh/sftp-server ] ||
    missing="$missing openssh-sftp-server"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "some tests will be skipped for want of$missing"
    exit 0
fi
say "installing$missing for the tests"
# dpkg looks for its helpers on PATH.
PATH=$PATH:/usr/sbin:/sbin
DEBIAN_FRONTEND=noninteractive
export PATH DEBIAN_FRONTEND
apt-get update -qq >/dev/null 2>&1 || say "apt-get update failed; trying with the lists at hand"
# shellcheck disable=SC2086 - one word per package
apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
    say "apt-get could not install$missing; some tests will be skipped"
exit 0
