"""Makes a W&B server that is away cost one wait, and not one for each stage of a sweep."""

import contextlib
import json
import logging
import os
import time
from pathlib import Path

from ptl_sweep.store import write_atomically

log = logging.getLogger(__name__)

RETRY_AFTER = 15 * 60  # seconds during which every stage goes offline at once; ours
PUBLIC_SERVER = "https://api.wandb.ai"  # when the environment names no other


def server() -> str:
    """Name the server of the environment, as `unreachable.json` does."""
    return os.environ.get("WANDB_BASE_URL", PUBLIC_SERVER).rstrip("/")


def remember(root: Path, error: Exception) -> None:
    """Write `<root>/unreachable.json`: time (seconds since 1970), url, what was raised."""
    content = {"time": time.time(), "url": server(), "what": str(error)}
    with contextlib.suppress(OSError):  # then the next stage waits as well
        write_atomically(_mark(root), json.dumps(content, indent=2).encode())


def forget(root: Path) -> None:
    """Remove the file: the server has answered."""
    with contextlib.suppress(OSError):
        _mark(root).unlink(missing_ok=True)


def is_known(root: Path) -> bool:
    """Whether this server did not answer a stage in the last 15 minutes; says so in the log."""
    try:
        content = json.loads(_mark(root).read_text(encoding="utf-8"))
        age = time.time() - float(content["time"])
        is_same = content["url"] == server()
    except (OSError, ValueError, KeyError, TypeError):  # absent, or torn: then it is asked
        return False
    if not is_same or not 0 <= age < RETRY_AFTER:
        return False
    log.info(
        "W&B mirror: offline, as %s did not answer %d s ago; asked again %d s after that, "
        "or at once when %s is deleted", server(), age, RETRY_AFTER, _mark(root),
    )  # fmt: skip
    return True


def _mark(root: Path) -> Path:
    return root / "unreachable.json"
