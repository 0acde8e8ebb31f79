"""Where tasks run: one file or folder each, named as `launcher.name`."""

from ptl_sweep.config.choices import find_choice
from ptl_sweep.launchers.base import Launcher


def find_launcher(name: str) -> type[Launcher]:
    """The class that `launcher.name` names. Raises: ConfigError."""
    found: type[Launcher] = find_choice(__name__, "launcher.name", name, Launcher)
    return found
