"""Most memory that this process has held since a stage began, as Linux counts it."""

import re
import resource
from pathlib import Path

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"  # proc(5): set the peak of the resident set to its present size


def restart_peak() -> bool:
    """Forget earlier peaks; False where the system does not permit it."""
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def peak_mb() -> float:
    """Most memory, MB, since `restart_peak`; of the whole process where /proc does not say."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    except OSError:
        found = None
    kilobytes = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / 1024
