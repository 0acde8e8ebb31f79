"""A key is found where W&B looks, refused for its form alone, and never repeated."""

from pathlib import Path

import pytest

from ptl_sweep.tracking import credentials

WHOLE = "0123456789abcdef" * 3


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that may hold a key, for a server called wandb.example."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(credentials, "base_url", lambda: "https://wandb.example")
    return tmp_path / "netrc"


def test_without_a_key_there_is_no_problem_with_it(netrc: Path) -> None:
    assert not credentials.has_key()
    assert credentials.key_problem() is None
    netrc.write_text(f"machine another.example login user password {WHOLE}\n")
    assert not credentials.has_key()


@pytest.mark.parametrize("key", [WHOLE, f"local-{WHOLE}", f"wandb_v1_{WHOLE}", "a.b-c.d_e"])
def test_keys_of_every_form_that_wandb_takes_are_taken(
    netrc: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc.write_text(f"machine wandb.example login user password {key}\n")
    assert credentials.has_key()
    assert credentials.key_problem() is None
    netrc.unlink()
    monkeypatch.setenv("WANDB_API_KEY", key)
    assert credentials.has_key()
    assert credentials.key_problem() is None


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("tooshortsecret", "it has 14 characters, a key 40 or more"),
        (f"{WHOLE[:30]}", "it has 30 characters"),
        (f"local-{WHOLE[:30]}", "it has 30 characters"),
        (f" {WHOLE}", "characters other than"),
        (f"{WHOLE}\n", "characters other than"),
        (f'"{WHOLE}"', "characters other than"),
    ],
)
def test_a_key_that_wandb_would_refuse_is_named_by_its_place_and_not_repeated(
    netrc: Path, key: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    problem = str(credentials.key_problem())
    assert problem.startswith("WANDB_API_KEY is no W&B key")
    assert why in problem
    assert key.strip() not in problem


def test_a_bad_password_in_netrc_is_named_by_its_file(netrc: Path) -> None:
    netrc.write_text("machine wandb.example login user password hunter2\n")
    problem = str(credentials.key_problem())
    assert problem.startswith(f"the password of wandb.example in {netrc} is no W&B key")
    assert "hunter2" not in problem


def test_the_form_is_what_the_sdk_itself_asks_for(netrc: Path) -> None:
    """So that no key is refused here that W&B would take, or the other way round."""
    from wandb.sdk.lib.wbauth import check_api_key

    keys = [WHOLE, f"local-{WHOLE}", "a.b.c", "x" * 39, "x" * 40, "ü" * 40, f"{WHOLE} ", "a-b", "!"]
    for key in keys:
        ours, theirs = credentials._problem("it", key), check_api_key(key)
        assert (ours is None) == (theirs is None), key
