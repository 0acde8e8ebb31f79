"""Networks that give a feature per detection: one file each, named as `detector.architecture`."""

from ptl_sweep.config.choices import find_choice
from ptl_sweep.config.schema import DetectorConfig
from ptl_sweep.detection.architectures.base import Architecture


def architecture_of(config: DetectorConfig) -> Architecture:
    """What `detector.architecture` names, after its check of the config. Raises: ConfigError."""
    found: type[Architecture] = find_choice(
        __name__, "detector.architecture", config.architecture, Architecture
    )
    architecture = found()
    architecture.check(config)
    return architecture
