"""Block sums: what each block of positions added to a sum. Adding up a shard's first blocks gives a past state."""

from __future__ import annotations

from msgspec.structs import replace

from projections.engine.projection import Projection

# Positions 1..16,384 are block 0. A past sum reads one row per block before its position, and at most one block's events.
BLOCK_BITS = 14
BLOCK_EVENTS = 1 << BLOCK_BITS

# A shift, because `/` is not integer division in DuckDB.
EVENTS_WITH_BLOCK = (
    f"FROM (SELECT *, CAST((position - 1) >> {BLOCK_BITS} AS integer) AS block FROM events) AS events"
)


def per_block(total: Projection, name: str, **more: tuple[str, str]) -> Projection:
    """The same sum with ``block`` in its key.

    The SELECT is the sum's own text: ``events`` gets a column ``block``, which follows ``shard, tool`` in every list
    of columns and every GROUP BY. ``more`` are further columns, which only the blocks keep: their DDL and expression.
    """
    assert total.shape == "sum", f"{total.name} is not a sum"
    assert total.keys[0] == "tool", f"{total.name} has no tool to put the block after"
    added = "".join(f", {expression} AS {column}" for column, (_, expression) in more.items())
    select = total.select.replace(
        "FROM events", f"{added} {EVENTS_WITH_BLOCK}" if more else EVENTS_WITH_BLOCK
    )
    return replace(
        total,
        name=name,
        keys=("tool", "block", *total.keys[1:]),
        columns={"tool": "integer", "block": "integer"}
        | total.columns
        | {column: ddl for column, (ddl, _) in more.items()},
        select=select.replace("shard, tool", "shard, tool, block"),
        indexes=(),
    )
