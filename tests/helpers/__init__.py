"""What several test files share: worlds, sweeps, servers, tolerances."""
