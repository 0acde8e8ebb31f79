"""Which code computes: its commit, its versions, a fingerprint of its files, a frozen copy."""

import functools
import hashlib
import importlib.metadata
import platform
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptl_sweep import __version__
from ptl_sweep.config.schema import conf_dir

PACKAGE = Path(__file__).resolve().parent.parent
COMMIT_FILE = "COMMIT"  # beside the package in a snapshot: there is no git there
LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pillow")


def software() -> dict[str, Any]:
    """Code and versions that a result was computed with."""
    return {
        "commit": git_commit(),
        "code": code_fingerprint(),
        "versions": {
            "ptl_sweep": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in LIBRARIES},
        },
    }


def software_text(about: Mapping[str, Any]) -> str:
    """The same in one line, of what a stage noted about itself."""
    parts = [f"{name} {version}" for name, version in about.get("versions", {}).items()]
    return ", ".join([f"commit {about.get('commit') or 'not a git checkout'}", *parts])


def git_commit() -> str | None:
    """Commit of the checkout that runs, with -dirty for uncommitted changes; None in a wheel."""
    frozen = PACKAGE.parent / COMMIT_FILE
    if frozen.is_file():
        return frozen.read_text().strip() or None
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=PACKAGE,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


@functools.cache
def code_fingerprint() -> str:
    """12 hex digits over the package's Python files, as they were when this process first asked."""
    return fingerprint_of(PACKAGE)


def fingerprint_of(package: Path) -> str:
    """12 hex digits over names and contents of every Python file below a folder."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(package).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:12]


def snapshot_code(folder: Path) -> Path:
    """Copy package and conf to ``folder/<fingerprint>``, once; PYTHONPATH must name the result."""
    partial = folder / f"{uuid.uuid4().hex[:8]}.tmp"
    no_caches = shutil.ignore_patterns("__pycache__", "conf")
    shutil.copytree(PACKAGE, partial / PACKAGE.name, ignore=no_caches)
    shutil.copytree(conf_dir(), partial / "conf")
    (partial / COMMIT_FILE).write_text(git_commit() or "")
    target = folder / fingerprint_of(partial / PACKAGE.name)  # of what was copied, not of before
    try:
        partial.rename(target)
    except OSError:  # it is there already
        shutil.rmtree(partial)
        if not target.is_dir():
            raise
    return target
