"""A question to W&B's server ends with the command, whatever W&B's service does."""

import subprocess
import sys

PROGRAM = """
import subprocess
import wandb
import ptl_sweep.tracking.wandb
from ptl_sweep.tracking import server

server.END_S, ptl_sweep.tracking.wandb.GRACE_S = 0.2, 0.1
service = subprocess.Popen(["sleep", "600"])
wandb.teardown = service.wait
server.end_service()
print(service.returncode)
"""


def test_a_service_that_does_not_end_is_killed() -> None:
    """W&B waits for its service without a limit, which waits for a server that is dead.

    In a process of its own: every child of it is killed.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=200
    )
    assert done.stdout.strip() == "-9"
