"""Which code computed: the fingerprint follows the files, a snapshot holds them."""

import os
import subprocess
import sys
from pathlib import Path

from ptl_sweep.pipeline.provenance import (
    PACKAGE,
    code_fingerprint,
    fingerprint_of,
    git_commit,
    snapshot_code,
)


def test_the_fingerprint_changes_with_a_name_or_a_content_and_with_nothing_else(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    first = fingerprint_of(tmp_path)
    os.utime(tmp_path / "a.py", (0, 0))
    (tmp_path / "notes.txt").write_text("no code")
    assert fingerprint_of(tmp_path) == first
    (tmp_path / "a.py").write_text("x = 2\n")
    changed = fingerprint_of(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, changed, fingerprint_of(tmp_path)}) == 3


def test_a_snapshot_is_what_python_imports_from_there(tmp_path: Path) -> None:
    snapshot = snapshot_code(tmp_path)
    assert snapshot.name == code_fingerprint() == fingerprint_of(snapshot / PACKAGE.name)
    assert snapshot_code(tmp_path) == snapshot
    assert [path.name for path in tmp_path.iterdir()] == [snapshot.name]
    program = (
        "from ptl_sweep.pipeline.provenance import PACKAGE, code_fingerprint, git_commit\n"
        "from ptl_sweep.config.schema import conf_dir\n"
        "print(PACKAGE, conf_dir(), code_fingerprint(), git_commit(), sep='\\n')"
    )
    environment = {**os.environ, "PYTHONPATH": str(snapshot)}
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env=environment, cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert answer.stdout.splitlines() == [
        str(snapshot / "ptl_sweep"),
        str(snapshot / "conf"),
        code_fingerprint(),
        str(git_commit()),
    ]
