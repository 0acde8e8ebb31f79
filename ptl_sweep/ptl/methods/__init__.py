"""How virtual images enter the training set: one file each, named as `synthetic.method`."""

from ptl_sweep.config.choices import find_choice
from ptl_sweep.config.schema import Config
from ptl_sweep.ptl.methods.base import SyntheticMethod


def find_method(method: str) -> type[SyntheticMethod]:
    """The class that `synthetic.method` names. Raises: ConfigError."""
    found: type[SyntheticMethod] = find_choice(
        __name__, "synthetic.method", method, SyntheticMethod
    )
    return found


def method_of(config: Config) -> SyntheticMethod:
    """The synthetic method of a cell with its parameters. Raises: ConfigError."""
    return find_method(config.synthetic.method).of(config)
