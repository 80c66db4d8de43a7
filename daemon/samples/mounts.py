"""On which kind of file system a folder lies: a change made on another machine gives no inotify event here."""

import os
import re
from pathlib import Path

_NETWORK = re.compile(r"(nfs\d?|cifs|smb\d?|smbfs|fuse\..+|fuse|9p|afs|ceph|glusterfs|lustre|gpfs|beegfs|virtiofs|vboxsf|prl_fs|drvfs)")
_OCTAL = re.compile(rb"\\([0-7]{3})")


def is_network(folder: Path, mountinfo: bytes | None = None) -> bool:
    """Whether *folder*, which need not exist, lies on a file system that other machines may write to.

    *mountinfo* is what /proc/self/mountinfo holds (proc(5)), read when not given; unreadable, every folder counts as local.
    Any FUSE file system counts as one: which of them pass events on is not to be known from its name.
    """
    if mountinfo is None:
        try:
            mountinfo = Path("/proc/self/mountinfo").read_bytes()
        except OSError:
            return False
    place = os.fsencode(os.path.realpath(folder))
    best, kind = -1, b""
    for line in mountinfo.splitlines():
        left, found, right = line.partition(b" - ")
        fields = left.split(b" ")
        if not found or len(fields) < 5:
            continue
        point = _OCTAL.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), fields[4]).rstrip(b"/")
        # The later of two mounts on one place covers the earlier.
        if len(point) >= best and (place == point or place.startswith(point + b"/")):
            best, kind = len(point), right.split(b" ")[0]
    return _NETWORK.fullmatch(kind.decode("ascii", "replace")) is not None
