"""What the tests of several packages share; `tests` is on the path (pyproject.toml)."""
