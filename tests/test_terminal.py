"""What is printed reaches the terminal, whatever signs it holds and whatever the terminal knows."""

import subprocess
import sys

import pytest

from ptl_sweep.terminal import WIDTH, wrap

SAY = "from ptl_sweep.terminal import say; say('na\\u00efve \\udce9.jpg [1]')"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "na\u00efve \\udce9.jpg [1]\n"), ("ascii", "na\\xefve \\udce9.jpg [1]\n")],
)
def test_a_sign_that_a_terminal_cannot_show_is_written_out(encoding: str, shown: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAY],
        capture_output=True,
        check=True,
        env={"PYTHONIOENCODING": encoding, "PATH": ""},
    )
    assert done.stdout.decode() == shown


def test_the_key_of_a_stage_is_never_broken_and_lines_fit() -> None:
    keys = [f"ptl-miniature-n{n}-s0-on-t5-4b5dd45d0d84" for n in range(20)]
    lines = wrap(f"failed  {', '.join(keys)}").splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    assert " ".join(lines).split() == f"failed {', '.join(keys)}".split()
