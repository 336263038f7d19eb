"""Our own PostgreSQL and Valkey on one machine, from binaries that came with pip."""
