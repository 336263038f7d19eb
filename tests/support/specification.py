"""Given events, when a command is decided, then these events or this rejection follow: one form for every decider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Generic, TypeVar

import pytest

from domain.shared.errors import Rejected

State = TypeVar("State")
Event = TypeVar("Event")
Command = TypeVar("Command")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Specification(Generic[State, Event, Command, Result]):
    """``given(events).when(command).then(result)``, or ``.then_rejected(Rejected, ...)``."""

    initial: State
    evolve: Callable[[State, Event], State]
    decide: Callable[[Command, State], Result]

    def given(self, *events: Event) -> Given[State, Command, Result]:
        return Given(reduce(self.evolve, events, self.initial), self.decide)


@dataclass(frozen=True)
class Given(Generic[State, Command, Result]):
    state: State
    decide: Callable[[Command, State], Result]

    def when(self, command: Command) -> When[Result]:
        return When(lambda: self.decide(command, self.state))


@dataclass(frozen=True)
class When(Generic[Result]):
    decided: Callable[[], Result]

    def then(self, expected: Result | Sequence[object]) -> None:
        assert self.decided() == expected

    def then_rejected(self, rejection: type[Rejected], **details: object) -> None:
        with pytest.raises(rejection) as raised:
            self.decided()
        assert raised.value.details == details
