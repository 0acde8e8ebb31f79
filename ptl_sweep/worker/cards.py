"""The GPUs that worker processes may use, found without importing torch, and which comes next."""

import importlib.util
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/gpus")  # a folder per GPU, where a container shows it
TIMEOUT_S = 10.0  # nvidia-smi takes 1-2 s on a machine of 8 GPUs without persistence mode
UUID = re.compile(r"\b((?:GPU|MIG)-[\w/-]+)")


def visible_cards() -> list[str]:
    """Name every GPU or MIG slice of this machine, as CUDA_VISIBLE_DEVICES does; none: no CUDA.

    One that the user has set is kept to, in its order and spelling.
    """
    wanted = os.environ.get(VISIBLE)
    if (wanted is not None and not _entries(wanted)) or not _torch_has_cuda():
        return []
    return cards_among(_listed_cards(), wanted)


def cards_among(listed: Sequence[str], wanted: str | None) -> list[str]:
    """Keep what CUDA would of `listed` (UUIDs, slices after their GPU) for this variable.

    None: every slice, and every GPU that is not sliced. CUDA ends the list at the first entry that
    names nothing, and so does this.
    """
    if wanted is None:
        sliced = {before for before, card in pairwise(listed) if _is_mig(card)}
        return [card for card in listed if _is_mig(card) or card not in sliced]
    found: list[str] = []
    for entry in _entries(wanted):
        if not _exists(entry, listed):
            break
        found.append(entry)
    return list(dict.fromkeys(found))


def freest_card(cards: Sequence[str], taken: Iterable[str | None], per_card: int) -> str | None:
    """Return the card with the fewest of the tasks that run on `taken`; None: all are full."""
    counts = Counter(taken)
    card = min(cards, key=lambda name: counts[name], default=None)
    return card if card is not None and counts[card] < per_card else None


def card_environment(environment: Mapping[str, str], card: str | None) -> dict[str, str]:
    """Return the environment in which CUDA shows that card alone; None changes nothing."""
    return {**environment, VISIBLE: card} if card is not None else dict(environment)


def _entries(value: str) -> list[str]:
    """Split what stands before the first entry that hides the rest, as -1 does."""
    found: list[str] = []
    for entry in map(str.strip, value.split(",")):
        if not (entry.isdecimal() or entry.startswith(("GPU-", "MIG-"))):
            break
        found.append(entry)
    return found


def _exists(entry: str, listed: Sequence[str]) -> bool:
    """Whether the machine has it; MIG-GPU-x/1/0 is an old spelling of which only the GPU shows."""
    if entry.isdecimal():
        return int(entry) < len(listed)
    whole = entry.removeprefix("MIG-").partition("/")[0] if "/" in entry else entry
    return any(card.startswith(whole) for card in listed)


def _is_mig(card: str) -> bool:
    return card.startswith("MIG-")


def _listed_cards() -> list[str]:
    """UUIDs in the order of nvidia-smi, which is that of the bus; without it the driver's own."""
    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            ["nvidia-smi", "-L"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        return UUID.findall(answer.stdout)
    found: list[str] = []
    for path in sorted(DRIVER.glob("*/information")):
        with suppress(OSError):
            found += UUID.findall(path.read_text(errors="replace"))
    return found


def _torch_has_cuda() -> bool:
    """Whether the installed torch was built with CUDA, from its version file: import takes 2 s."""
    spec = importlib.util.find_spec("torch")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        with suppress(OSError):
            text = (Path(folder) / "version.py").read_text()
            return re.search(r"^cuda\b.*=\s*None", text, re.MULTILINE) is None
    return spec is not None
