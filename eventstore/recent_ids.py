"""Recent ids: the vote for which each of the newest ids chosen by clients was used, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

# Up to twice as many are remembered, and the ids of one batch, at about 200 bytes each.
GENERATION_IDS_MAX = 16_384


class RecentIds:
    """Remembers at least the last ``generation_max`` ids.

    A ballot knows its own newest ids. An older id of it, or one that was used on another ballot, of another tool or voter
    and perhaps in another shard, could be found only in an index of all ids ever used (docs/decisions/0033).
    """

    def __init__(self, generation_max: int = GENERATION_IDS_MAX) -> None:
        self._generation_max = generation_max
        self._current, self._previous = _Generation(), _Generation()

    def claim(self, id: UUID, actor: UUID, tool: str, choice: str | None) -> bool:
        """Remember the id's vote. False if the id is known to be used for another one."""
        number, vote = id.int, hash((actor, tool, choice))
        known = self._current.find(number) or self._previous.find(number)
        if known is not None:
            return known == vote
        self._make_room()
        self._current.votes[number] = vote
        return True

    def claim_new(
        self, ids: Sequence[UUID], actors: Sequence[UUID], tools: Sequence[str], choices: Sequence[str | None]
    ) -> bool:
        """Remember the votes of ids that are all new, and different; otherwise False, and each has to be claimed."""
        numbers = {each.int for each in ids}
        if len(numbers) < len(ids) or self._current.has_any(numbers) or self._previous.has_any(numbers):
            return False
        self._make_room()
        self._current.batched |= numbers
        self._current.batches.append((ids, actors, tools, choices))
        return True

    def _make_room(self) -> None:
        if len(self._current.votes) + len(self._current.batched) >= self._generation_max:
            self._previous, self._current = self._current, _Generation()


class _Generation:
    """Ids as numbers. The votes of batches are sorted in when one of their ids is looked up, which is rare."""

    def __init__(self) -> None:
        self.votes: dict[int, int] = {}  # the hash of actor, tool and choice
        self.batched: set[int] = set()
        self.batches: list[tuple[Sequence[UUID], Sequence[UUID], Sequence[str], Sequence[str | None]]] = []

    def find(self, number: int) -> int | None:
        if number in self.batched:
            for ids, *votes in self.batches:
                numbers = [each.int for each in ids]
                self.votes.update(zip(numbers, map(hash, zip(*votes, strict=True)), strict=True))
            self.batched, self.batches = set(), []
        return self.votes.get(number)

    def has_any(self, numbers: set[int]) -> bool:
        return not (self.batched.isdisjoint(numbers) and self.votes.keys().isdisjoint(numbers))
