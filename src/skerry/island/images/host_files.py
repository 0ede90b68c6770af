"""Which parts of the machine's configuration a sandbox may see, and which are written anew for it."""

from __future__ import annotations

import fnmatch

from skerry.island.images.rootfs import DEFAULT_PATH, HOSTS, RESOLV_CONF

# A whitelist, because /etc is where machines keep their secrets: nothing that may hold a password, a token or
# a key (pip.conf, npmrc, gitconfig, environment, profile.d, maven, wgetrc, ssh, apt) belongs here.
ETC_SHOWN = (
    "ImageMagick-*",
    "OpenCL",
    "R",
    "alpine-release",
    "alternatives",
    "arch-release",
    "bash.bashrc",
    "bash_completion",
    "bash_completion.d",
    "bashrc",
    "ca-certificates.conf",
    "ca-certificates/extracted",
    "crypto-policies",
    "debian_version",
    "default/locale",
    "fonts",
    "gai.conf",
    "glvnd",
    "groff",
    "host.conf",
    "inputrc",
    "java",
    "java-*",
    "ld-musl-*",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "login.defs",
    "lsb-release",
    "magic",
    "magic.mime",
    "manpath.config",
    "mime.types",
    "netconfig",
    "networks",
    "os-release",
    "perl",
    "pki/ca-trust/extracted",
    "pki/java",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "protocols",
    "python3",
    "python3.*",
    "redhat-release",
    "rpc",
    "services",
    "sgml",
    "shells",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "system-release",
    "terminfo",
    "texmf",
    "timezone",
    "vim",
    "vulkan",
    "xml",
)

# Directories on the way to a shown entry; entered, never copied as a whole.
_PARENTS = frozenset(
    "/".join(pattern.split("/")[:depth]) for pattern in ETC_SHOWN for depth in range(1, pattern.count("/") + 1)
)

# Trees in which an administrator may have put a key beside its certificate.
_KEY_TREES = ("ssl/", "pki/", "ca-certificates/")
_KEY_NAMES = ("*.key", "*.p12", "*.pfx", "*.keystore", "*.password", "*.access")


def is_shown(path: str) -> bool:
    """Whether an entry of /etc (path relative to it) is shown as a whole."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in ETC_SHOWN if pattern.count("/") == path.count("/"))


def leads_to_shown(path: str) -> bool:
    """Whether a directory of /etc is only on the way to a shown entry."""
    return path in _PARENTS


def may_hold_key(path: str, content: bytes) -> bool:
    """Whether a file of /etc looks like key material, by its name or by what is in it."""
    if any(fnmatch.fnmatchcase(path.rsplit("/", 1)[-1], pattern) for pattern in _KEY_NAMES):
        return True
    return path.startswith(_KEY_TREES) and b"PRIVATE KEY" in content


def written_anew(shell: str) -> dict[str, str]:
    """Configuration of the sandbox itself: users, names, profile; texts by path relative to /etc.

    Args:
        shell: path of the login shell inside, `/bin/bash` where the machine has one.
    """
    users = (
        f"root:x:0:0:root:/root:{shell}",
        "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
        "bin:x:2:2:bin:/bin:/usr/sbin/nologin",
        "sys:x:3:3:sys:/dev:/usr/sbin/nologin",
        "mail:x:8:8:mail:/var/mail:/usr/sbin/nologin",
        "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin",
        f"user:x:1000:1000:user:/home/user:{shell}",
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
    )
    groups = (
        ("root", 0),
        ("daemon", 1),
        ("bin", 2),
        ("sys", 3),
        ("adm", 4),
        ("tty", 5),
        ("disk", 6),
        ("mail", 8),
        ("www-data", 33),
        ("shadow", 42),
        ("utmp", 43),
        ("video", 44),
        ("staff", 50),
        ("users", 100),
        ("user", 1000),
        ("nogroup", 65534),
    )
    profile = (
        f'PATH="{DEFAULT_PATH}"\n'
        "export PATH\n"
        'if [ -n "${BASH-}" ] && [ -n "${PS1-}" ] && [ -r /etc/bash.bashrc ]; then\n'
        "  . /etc/bash.bashrc\n"
        "fi\n"
    )
    nsswitch = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n" + "".join(
        f"{name}: files\n" for name in ("networks", "protocols", "services", "ethers", "rpc")
    )
    return {
        "group": "".join(f"{name}:x:{number}:\n" for name, number in groups),
        "hostname": "sandbox\n",
        "hosts": HOSTS,
        "nsswitch.conf": nsswitch,
        "passwd": "".join(f"{line}\n" for line in users),
        "profile": profile,
        "resolv.conf": RESOLV_CONF,
    }
