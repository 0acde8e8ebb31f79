"""What to do about an error of the operating system: every one names its file and a fix."""

import errno
import os

from ptl_sweep.store import is_disk_full

FREE_SOME = "free some space and run the same command again"
FIXES = {
    errno.ENOSPC: FREE_SOME,
    errno.EDQUOT: FREE_SOME,
    errno.EROFS: "it lies on a read-only file system; choose another folder with sweep.root=...",
    errno.EACCES: "change its permissions, or choose another folder with sweep.root=...",
    errno.EPERM: "change its permissions, or choose another folder with sweep.root=...",
    errno.ENOTDIR: "a part of this path is a file; choose another path, or move that file away",
    errno.EEXIST: "there is a file where a folder must be; choose another path, or move it away",
    errno.EISDIR: "there is a folder where a file must be; move it away",
    errno.ENAMETOOLONG: "the file system allows no such long name; choose a shorter one",
    errno.ELOOP: "its symbolic links go round in a circle; mend them",
    errno.ENOENT: "check the path; if it was there a moment ago, run the same command again",
    errno.ESTALE: "the server has lost it; look at the mount, and run the same command again",
    errno.EIO: "the disk or its server fails; look at the system's log before anything else",
    errno.EMFILE: "too many open files; raise the limit with ulimit -n",
    errno.ENFILE: "too many open files on this machine",
    errno.EBUSY: "something else uses it; run the same command again",
}


def os_error_text(error: OSError) -> str:
    """What failed, where, and how to fix it, in one line."""
    what = os.strerror(error.errno) if error.errno else str(error)
    files = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    where = f"{files}: " if files else ""
    kept = "run the same command again; what is published is kept"
    fix = FREE_SOME if is_disk_full(error) else FIXES.get(error.errno or 0, kept)
    return f"{where}{what}; {fix}"
