"""What a W&B run is called and filed under."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_RUN_ID = 64  # characters that W&B accepts
MAX_TAG = 64  # characters that W&B accepts
JOB_TYPES = ("train", "evaluate", "reduce")


@dataclass(frozen=True, kw_only=True, slots=True)
class FiledFiles:
    """Files of a finished folder that W&B keeps as an artifact."""

    name: str
    kind: str  # model | results
    files: Sequence[str]  # relative to the folder
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunInfo:
    """What a W&B run is called and filed under, and how it hangs together with others."""

    key: str  # of the stage; the run id is made from it
    name: str  # readable, such as "n20 on s0 -> okutama"
    job_type: str  # train | evaluate | reduce
    config: Mapping[str, Any] = field(default_factory=dict)  # flat: real_count, target, seed, ...
    step_metrics: Sequence[str] = ()  # x axes, such as "train/step" for all that is "train/..."
    tags: Sequence[str] = ()  # cut to the 64 characters that W&B accepts; empty ones are left out
    uses: Sequence[str] = ()  # artifacts that it starts from
    makes: FiledFiles | None = None

    def __post_init__(self) -> None:
        """Reject a job type that no view of the project filters by."""
        if self.job_type not in JOB_TYPES:
            raise ValueError(f"job_type must be one of {', '.join(JOB_TYPES)}: {self.job_type!r}")


def run_id(key: str) -> str:
    """The run id of a stage: the key itself where W&B accepts it, else shortened with a digest."""
    clean = re.sub(r"[^A-Za-z0-9_-]", "-", key)
    if clean == key and len(key) <= MAX_RUN_ID:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    return f"{clean[: MAX_RUN_ID - 13]}-{digest}"


def artifact_name(name: str) -> str:
    """The name with what W&B does not accept replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)
