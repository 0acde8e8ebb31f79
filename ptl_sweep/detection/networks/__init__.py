"""Networks of the detectors: backbones, read-out and losses, one file each."""
