"""Runs one command as a container would, given its own namespaces: `python container.py SPEC`.

Started by `image.py` through `unshare`, as root. What it mounts is gone with its namespace.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
from pathlib import Path

_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE = 1, 32, 4096, 16384
_LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0) -> None:
    """mount(2)."""
    if _LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def bind(source: str, target: Path, *, read_only: bool = False) -> None:
    """Show a file or folder in another place, too."""
    if Path(source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount(source, str(target), flags=_BIND | _RECURSIVE)
    if read_only:
        mount(source, str(target), flags=_BIND | _REMOUNT | _READ_ONLY)


def loopback() -> None:
    """A new network has nothing but 127.0.0.1, and that is switched off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        name = b"lo".ljust(16, b"\0")
        (state,) = struct.unpack_from("H", fcntl.ioctl(asking, 0x8913, name + bytes(16)), 16)
        fcntl.ioctl(asking, 0x8914, name + struct.pack("H", state | 1) + bytes(14))


def main() -> None:
    """Mount, go in, become the user, run."""
    spec = json.loads(sys.argv[1])
    root = Path(spec["root"])
    bind(str(root), root)
    mount("proc", str(root / "proc"), "proc")
    bind("/dev", root / "dev")
    for source, target, read_only in spec["binds"]:
        bind(source, root / target.lstrip("/"), read_only=read_only)
    if spec["read_only"]:
        mount(str(root), str(root), flags=_BIND | _REMOUNT | _READ_ONLY)
    for target in spec["tmpfs"]:
        mount("tmpfs", str(root / target.lstrip("/")), "tmpfs")
    if spec["own_network"]:
        loopback()
    os.chroot(root)
    os.chdir(spec["directory"])
    user, group = map(int, spec["user"].split(":"))
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    os.environ.clear()
    os.environ.update(spec["env"])
    os.execvpe(spec["args"][0], spec["args"], spec["env"])


if __name__ == "__main__":
    main()
