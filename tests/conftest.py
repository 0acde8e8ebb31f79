"""Check every shape in the numeric packages while the tests run."""

from jaxtyping import install_import_hook

install_import_hook(
    ["ptl_sweep.analysis", "ptl_sweep.datasets", "ptl_sweep.detection", "ptl_sweep.ptl"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)
