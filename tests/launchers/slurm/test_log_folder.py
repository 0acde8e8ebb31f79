"""Where submitit's pickles lie: a name that SLURM keeps, and nobody else can write there."""

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.launchers.slurm.journal import SLURM_LOGS
from ptl_sweep.launchers.slurm.log_folder import (
    check_log_folder,
    make_log_folder,
    private_files,
)
from ptl_sweep.pipeline.plan import Plan


@pytest.fixture
def plan(make_plan: Callable[..., Plan]) -> Plan:
    return make_plan("real_count=2", "target=field")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_whose_name_slurm_would_change_is_refused(plan: Plan) -> None:
    check_log_folder(plan)
    with pytest.raises(ConfigError, match="holds %, which SLURM replaces"):
        check_log_folder(replace(plan, name="50%j"))


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_nobody_else_can_write_where_jobs_load_pickles(plan: Plan, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = make_log_folder(plan)
        (folder / "1_submitted.pkl").touch(mode=0o666)
        assert make_log_folder(plan) == folder  # a second submission, after pickles were written
    finally:
        os.umask(before)
    assert folder == plan.folder.resolve() / SLURM_LOGS
    assert not mode(folder) & 0o022
    assert not mode(folder / "1_submitted.pkl") & 0o022
    assert mode(folder) & 0o700 == 0o700


def test_pickles_are_written_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        with private_files():
            (tmp_path / "inside").write_text("")
        (tmp_path / "after").write_text("")
    finally:
        os.umask(before)
    assert mode(tmp_path / "inside") == 0o644
    assert mode(tmp_path / "after") == 0o664


def test_a_folder_of_somebody_else_is_refused(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    make_log_folder(plan)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match=r"logs/slurm belongs to another user .* of your own"):
        make_log_folder(plan)


def test_a_file_system_without_permissions_is_named(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_log_folder(plan)
    folder.chmod(0o777)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    with pytest.raises(ConfigError, match="stays writable for others"):
        make_log_folder(plan)
