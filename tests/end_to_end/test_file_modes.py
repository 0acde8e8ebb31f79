"""What a sweep writes is for all whom the umask lets read: colleagues share a store."""

import stat
import subprocess
from pathlib import Path

import pytest
from helpers.sweeps import TINY, command_line


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_all_files_of_a_sweep_have_the_mode_of_the_umask(umask: int, tmp_path: Path) -> None:
    grid = ["-m", "real_count=3", "synthetic=on", "target=field", "seed=0", *TINY]
    command = command_line([*grid, f"sweep.root={tmp_path / 'out'}"])
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, umask=umask)
    found = sorted((tmp_path / "out").rglob("*"))
    suffixes = {path.suffix for path in found}
    assert {".safetensors", ".parquet", ".npy", ".npz", ".json", ".jsonl", ".png"} <= suffixes
    wrong = {
        str(path.relative_to(tmp_path)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in found
        if stat.S_IMODE(path.stat().st_mode) != (0o777 if path.is_dir() else 0o666) & ~umask
    }
    assert wrong == {}
