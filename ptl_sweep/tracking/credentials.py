"""Whether there is a key for W&B's server, and whether it looks like one; the server is not asked.

No message repeats a key.
"""

import netrc
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

KEY, TOKEN_FILE = "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"
MIN_KEY = 40  # characters that W&B asks for, less the prefix of a server of one's own
TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")  # a JWT, which W&B takes as a key too


def base_url() -> str:
    """Find the server that W&B's environment and settings files name."""
    import wandb

    return str(wandb.setup().settings.base_url)


def has_key() -> bool:
    """Whether the environment or netrc has credentials for the server; W&B would ask for them."""
    return any(os.environ.get(name) for name in (KEY, TOKEN_FILE)) or bool(_netrc_key())


def key_problem() -> str | None:
    """Say where a key lies that W&B would refuse for its form, and why; None without one."""
    if os.environ.get(KEY):
        return _problem(KEY, os.environ[KEY])
    if os.environ.get(TOKEN_FILE) or not (found := _netrc_key()):
        return None
    return _problem(*found)


def _problem(place: str, key: str) -> str | None:
    if TOKEN.fullmatch(key):
        return None
    secret = key.split("-", 1)[-1]
    if not re.fullmatch(r"[\w-]+", secret):
        return f"{place} is no W&B key: it has characters other than letters, digits, _ and -"
    if len(secret) < MIN_KEY:
        return f"{place} is no W&B key: it has {len(secret)} characters, a key {MIN_KEY} or more"
    return None


def _netrc_key() -> tuple[str, str] | None:
    """Find the server's entry: where it is, and its password."""
    named = os.environ.get("NETRC")
    for path in [Path(named)] if named else [Path("~/.netrc"), Path("~/_netrc")]:
        try:
            known = netrc.netrc(path.expanduser())
        except (OSError, netrc.NetrcParseError):
            continue
        host = urlsplit(base_url()).hostname or ""
        if entry := known.authenticators(host):
            return f"the password of {host} in {path}", entry[2] or ""
    return None
