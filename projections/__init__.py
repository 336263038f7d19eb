"""Read models, one file each: its table, its fold and its queries. The packages are the engine and what builds on it."""
