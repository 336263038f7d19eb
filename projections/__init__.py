"""Read models: one file each, with its table, its fold and its reads; and the engine that keeps them."""
