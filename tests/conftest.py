"""Check every shape in the numeric packages while the tests run; fixtures of several folders."""

from jaxtyping import install_import_hook

NUMERIC = (
    "datasets",
    "detection",
    "distance",
    "metrics",
    "own_detector",
    "predict",
    "ptl",
    "report",
    "study",
    "vocabulary",
)

install_import_hook(
    [f"ptl_sweep.{package}" for package in NUMERIC],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

pytest_plugins = [
    "helpers.cards",
    "helpers.sweeps",
    "helpers.tables",
    "helpers.wandb_server.fixtures",
]
