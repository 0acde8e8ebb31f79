"""Takes up an archive of `packing`: everything is checked before anything is put in its place.

An archive may come from anybody. Only bytes of plain members are read from it, into files that we
name ourselves; nothing is extracted, so links, devices, modes and owners mean nothing.
"""

import json
import re
import shutil
import tarfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.meta import META, parents_in
from ptl_sweep.ownership import owned
from ptl_sweep.pipeline.plan import PLAN, load_plan
from ptl_sweep.pipeline.upkeep.entries import KEY
from ptl_sweep.pipeline.upkeep.packing import CONTENTS, FORMAT, STORE, SWEEP, Progress
from ptl_sweep.pipeline.upkeep.verify import verify_files
from ptl_sweep.store import TEMPORARY, Store, flush_folder, sha256_of

NAME = r"[A-Za-z0-9_.-]+-[0-9a-f]{8}"  # of a sweep: <sweep.name>-<8 hex>
MAX_CONTENTS = 1 << 28  # bytes of pack.json; a stage and a file have a line each
NUMBERS = (".safetensors", ".parquet", ".npy", ".npz")  # files that hold a stage's results


@dataclass(slots=True, kw_only=True)
class Unpacked:
    """What an archive has brought."""

    sweep: str
    folder: Path
    has_plan: bool = False  # the sweep was here before, and stays as it is
    added: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # stages that were here before
    differing: list[str] = field(default_factory=list)  # of these, with other numbers
    size: int = 0  # bytes that were added


@dataclass(slots=True, kw_only=True)
class _Work:
    """An archive that is being read."""

    archive: Path
    store: Store
    folder: Path  # where it is written until all was checked; a store of its own
    stages: set[str] = field(default_factory=set)
    kept: dict[str, dict[str, str]] = field(default_factory=dict)  # key -> checksums of the archive
    contents: dict[str, Any] = field(default_factory=dict)

    def refusal(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self.archive}: {what}; nothing was unpacked\n"
            "  fix: copy the archive again, or make it anew with `store pack`"
        )


def unpack_sweep(archive: Path, root: Path, progress: Progress = lambda *_: None) -> Unpacked:
    """Put a sweep and its stages below `root`; what is there of the same name stays.

    Raises: ConfigError for an archive that is damaged, cut off or of something else,
    StageClaimedError where a stage of it is computed right now, OSError.
    """
    store = Store(root / "store")
    folder = store.root / f"unpack.{uuid.uuid4().hex[:8]}{TEMPORARY}"
    work = _Work(archive=archive, store=store, folder=folder)
    try:
        _read(work)
        _check_contents(work)
        _check_sweep(work)
        _check_stages(work)
        return _put_in_place(work, progress)
    except OSError as error:
        error.filename = error.filename or str(folder)  # a full disk does not say where
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(work: _Work) -> None:
    """Write every member into the work folder. Raises: ConfigError, OSError."""
    if not work.archive.is_file():
        raise ConfigError(f"no archive {work.archive}; give the file that `store pack` has written")
    try:
        with tarfile.open(work.archive, "r:") as archive:
            for member in archive:
                if work.contents:
                    raise work.refusal(f"it goes on after {CONTENTS}, its end")
                _read_member(work, archive, member)
    except (tarfile.TarError, UnicodeError) as error:
        raise work.refusal(f"it is cut off, damaged, or no archive of a sweep ({error})") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        if not str(error.filename).startswith(str(work.folder)):
            raise
        raise work.refusal(f"it has two members of one name ({error.filename})") from error


def _read_member(work: _Work, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    """Check a member's kind and name, and write its bytes. Raises: ConfigError, OSError."""
    parts = PurePosixPath(member.name).parts
    is_plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
    is_inside = "/".join(parts) == member.name and ".." not in parts and "\0" not in member.name
    file = archive.extractfile(member) if is_plain and is_inside else None
    if file is None:
        raise work.refusal(f"its member {member.name!r} is no plain file within it")
    if member.name == CONTENTS and member.size <= MAX_CONTENTS:
        work.contents = _parsed(work, file.read())
    elif parts[0] == SWEEP and len(parts) > 1:
        _write(work.folder / member.name, file)
    elif parts[0] == STORE and len(parts) > 2 and re.fullmatch(KEY, parts[1]):
        _read_stage_file(work, parts[1], "/".join(parts[2:]), file)
    else:
        raise work.refusal(f"its member {member.name!r} belongs to no sweep")


def _read_stage_file(work: _Work, key: str, name: str, file: IO[bytes]) -> None:
    """Write a file of a stage, unless the stage is here already."""
    if key not in work.stages and work.store.is_published(key):
        work.kept.setdefault(key, {})
    work.stages.add(key)
    if key not in work.kept:
        _write(work.folder / key / name, file)
    elif name == META:
        sums = _parsed(work, file.read()).get("sha256")
        work.kept[key] = sums if isinstance(sums, dict) else {}


def _parsed(work: _Work, content: bytes) -> dict[str, Any]:
    """Read an object of JSON. Raises: ConfigError for anything else."""
    try:
        return dict(json.loads(content))
    except (ValueError, TypeError, RecursionError) as error:
        raise work.refusal(f"a JSON file of it cannot be read ({error})") from error


def _write(path: Path, file: IO[bytes]) -> None:
    """Write a new file with the mode of the umask. Raises: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        shutil.copyfileobj(file, target, 1 << 20)


def _check_contents(work: _Work) -> None:
    """Compare what there is with what there must be. Raises: ConfigError."""
    if not work.contents:
        raise work.refusal("it is cut off: its end is missing")
    found = work.contents
    if found.get("format") != FORMAT:
        raise work.refusal(f"its format is {found.get('format')!r}, this version reads {FORMAT}")
    name, files, stages = (found.get(key) for key in ("sweep", "files", "stages"))
    if not (
        isinstance(name, str)
        and re.fullmatch(NAME, name)
        and isinstance(files, dict)
        and isinstance(stages, list)
        and all(isinstance(key, str) for key in stages)
    ):
        raise work.refusal(f"its {CONTENTS} names no sweep, files and stages")
    if set(stages) != work.stages or len(stages) != len(work.stages):
        raise work.refusal("its stages are not those that were packed")


def _check_sweep(work: _Work) -> None:
    """Compare the sweep's files with their checksums, and read its plan. Raises: ConfigError."""
    folder = work.folder / SWEEP
    there = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in folder.rglob("*")
        if path.is_file()
    }
    if there != work.contents["files"]:
        raise work.refusal("files of the sweep are not those that were packed")
    try:
        plan = load_plan(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise work.refusal(
            f"its {PLAN} cannot be read by this version ({type(error).__name__}: {error})"
        ) from error
    if plan.name != work.contents["sweep"]:
        raise work.refusal(f"its plan is that of {plan.name}, not of {work.contents['sweep']}")
    for name in [*plan.stages, *(task.name for task in plan.tasks)]:  # files are called by them
        if PurePosixPath(name).parts != (name,) or "\0" in name:
            raise work.refusal(f"its plan has a stage or a task called {name!r}")


def _check_stages(work: _Work) -> None:
    """Compare every stage with its meta.json, and look for its parents. Raises: ConfigError."""
    there: set[str] = set()
    packed = Store(work.folder)
    for key in work.contents["stages"]:
        if key not in work.kept:
            for finding in verify_files(packed, key).findings:
                name = Path(finding.path).relative_to(packed.root)
                raise work.refusal(f"{name} {finding.problem}")
            for parent in parents_in(packed.meta(key)):
                if parent not in there and not work.store.is_published(parent):
                    raise work.refusal(f"it lacks {parent}, which {key} was made from")
        there.add(key)


def _put_in_place(work: _Work, progress: Progress) -> Unpacked:
    """Rename stages, parents first, then the sweep's folder. Raises: as `unpack_sweep`."""
    name = work.contents["sweep"]
    target = work.store.root.parent / "sweeps" / name
    result = Unpacked(sweep=name, folder=target, has_plan=(target / PLAN).is_file())
    if target.exists() and not result.has_plan:
        raise work.refusal(f"{target} is in its way and holds no {PLAN}: move it away")
    for number, key in enumerate(work.contents["stages"], start=1):
        _put_stage(work, key, result)
        progress(number, len(work.contents["stages"]))
    if not result.has_plan:
        target.parent.mkdir(parents=True, exist_ok=True)
        result.size += _size_of(work.folder / SWEEP)
        flush_folder(work.folder / SWEEP)
        (work.folder / SWEEP).rename(target)
    return result


def _put_stage(work: _Work, key: str, result: Unpacked) -> None:
    """Publish a stage, or leave the one that is here as it is."""
    if key not in work.kept:
        with owned(work.store.claim_path(key)):
            if not work.store.is_published(key):  # since we looked
                result.size += _size_of(work.folder / key)
                work.store.adopt(key, work.folder / key)
                result.added.append(key)
                return
        work.kept[key] = Store(work.folder).meta(key)["sha256"]
    result.kept.append(key)
    if _numbers(work.store.meta(key)["sha256"]) != _numbers(work.kept[key]):
        result.differing.append(key)


def _numbers(sums: dict[str, str]) -> dict[str, str]:
    """Checksums of the files with a stage's results: times of a history may differ."""
    return {name: value for name, value in sums.items() if name.endswith(NUMBERS)}


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
