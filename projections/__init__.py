"""Read models, one file each: its table, its fold and its queries. The packages hold the engine and its applications."""
