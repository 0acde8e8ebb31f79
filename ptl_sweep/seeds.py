"""One seed for each purpose, so that nothing that is drawn depends on what else was drawn."""

import hashlib
import json


def derive_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose, independent of every other purpose's."""
    text = json.dumps([seed, *purpose], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
