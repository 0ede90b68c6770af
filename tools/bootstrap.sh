#!/bin/sh
# Make `.venv` hold what uv.lock says, with nothing but a Python of 3.11 or later to begin with.
#
#   SKERRY_PYTHON   the interpreter to use; otherwise the first fitting one on PATH or in /usr/bin
#
# Proxies, certificates and package indices are taken from the environment, as pip and uv document them.
# Done already and nothing changed: returns at once.
set -eu

cd "$(dirname "$0")/.."
root=$(pwd -P)
venv=$root/.venv
tool=$venv/tool

say() { printf '%s\n' "skerry setup: $*" >&2; }
die() { say "$*"; exit 1; }

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Prints the interpreter to build on.
find_python() {
    if [ -n "${SKERRY_PYTHON:-}" ]; then
        fits "$SKERRY_PYTHON" || die "SKERRY_PYTHON=$SKERRY_PYTHON is not a Python of 3.11 or later"
        command -v "$SKERRY_PYTHON"
        return
    fi
    for name in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
        if path=$(command -v "$name") && fits "$path"; then
            printf '%s\n' "$path"
            return
        fi
    done
    die "no Python of 3.11 or later found; install Debian's python3, or point SKERRY_PYTHON at one"
}

fingerprint() {
    { printf '%s\n' "$root"; cat uv.lock pyproject.toml tools/bootstrap.sh; } | cksum
}

stamp=$venv/.skerry-stamp
if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && [ "$(fingerprint)" = "$(cat "$stamp")" ] && fits "$venv/bin/python"; then
    exit 0
fi

if [ -z "${HOME:-}" ] || [ ! -w "${HOME:-/}" ]; then
    UV_CACHE_DIR=${UV_CACHE_DIR:-$venv/cache}
    PIP_NO_CACHE_DIR=${PIP_NO_CACHE_DIR:-1}
    export UV_CACHE_DIR PIP_NO_CACHE_DIR
fi
# Behind a proxy that signs with its own authority, the system's trust store is the one that knows it.
UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}
UV_PYTHON_DOWNLOADS=${UV_PYTHON_DOWNLOADS:-never}
PIP_DISABLE_PIP_VERSION_CHECK=1
export UV_SYSTEM_CERTS UV_PYTHON_DOWNLOADS PIP_DISABLE_PIP_VERSION_CHECK

python=$(find_python)
uv_wanted=$(sed -n 's/^required-version = "\(.*\)"$/\1/p' pyproject.toml)

has_ensurepip() { "$python" -c 'import ensurepip' 2>/dev/null; }
has_pip() { "$python" -m pip --version >/dev/null 2>&1; }

# Debian splits ensurepip off into a package of its own.
add_venv_package() {
    minor=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "$python has neither ensurepip nor pip; install one, on Debian and Ubuntu with: apt-get install $minor"
    fi
    say "installing $minor, which $python lacks"
    # dpkg looks for its helpers on PATH.
    PATH=$PATH:/usr/sbin:/sbin
    DEBIAN_FRONTEND=noninteractive
    export PATH DEBIAN_FRONTEND
    apt-get update -qq >/dev/null || say "apt-get update failed; trying with the lists at hand"
    apt-get install -y -qq --no-install-recommends "$minor" >/dev/null \
        || die "apt-get could not install $minor; install it by hand and repeat"
}

if ! "$tool/bin/uv" --version >/dev/null 2>&1; then
    say "getting uv ($uv_wanted) for $python"
    rm -rf "$tool"
    mkdir -p "$venv"
    has_ensurepip || has_pip || add_venv_package
    if has_ensurepip; then
        "$python" -m venv "$tool"
        "$tool/bin/python" -m pip install -q "uv$uv_wanted" || die "pip could not install uv; see above"
    else
        "$python" -m venv --without-pip "$tool"
        "$python" -m pip --python "$tool/bin/python" install -q "uv$uv_wanted" || die "pip could not install uv; see above"
    fi
fi

if ! fits "$venv/bin/python"; then
    "$tool/bin/uv" -q venv --allow-existing --python "$python" "$venv"
fi

say "installing what uv.lock names into .venv"
if ! "$tool/bin/uv" -q sync --frozen --all-extras --python "$venv/bin/python"; then
    # The lock names the index it was made from; where only a mirror is reachable, pip knows the way to it.
    say "uv sync failed; asking pip, with its own settings, for the same versions"
    "$tool/bin/uv" -q export --frozen --all-extras --no-emit-project -o "$tool/requirements.txt" >/dev/null
    [ -x "$tool/bin/pip" ] || die "this needs pip inside $tool; install python3-venv and repeat"
    "$tool/bin/python" -m pip --python "$venv/bin/python" install -q -r "$tool/requirements.txt" \
        || die "the packages could not be installed; see above"
    "$tool/bin/uv" -q pip install --python "$venv/bin/python" --no-deps --no-build-isolation -e . 2>/dev/null \
        || printf '%s\n' "$root/src" >"$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/skerry.pth"
fi

fingerprint >"$stamp"
say "ready: $("$venv/bin/python" --version) in .venv"
