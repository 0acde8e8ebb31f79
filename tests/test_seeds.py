"""Seeds: one for each purpose, whatever the order in which it is written down."""

from ptl_sweep.seeds import derive_seed


def test_the_order_of_keys_changes_no_seed() -> None:
    assert derive_seed(0, "bootstrap", {"a": 1, "b": {"c": 2, "d": 3}}) == derive_seed(
        0, "bootstrap", {"b": {"d": 3, "c": 2}, "a": 1}
    )
    assert derive_seed(0, {"a": 1}) != derive_seed(0, {"a": 2})


def test_seeds_of_trainings_are_those_of_published_stages() -> None:
    assert derive_seed(0, "train") == 5313891899833624539
