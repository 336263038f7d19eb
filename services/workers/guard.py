"""The guard of every job: an outage of Postgres or Redis ends the run, not the worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

import structlog
from redis.exceptions import RedisError

from services.resources import POSTGRES_UNAVAILABLE

UNAVAILABLE = (*POSTGRES_UNAVAILABLE, RedisError)

P = ParamSpec("P")
_log = structlog.get_logger()


def survive_outages(job: Callable[P, Awaitable[int | None]]) -> Callable[P, Coroutine[Any, Any, int]]:
    """The job, logging an outage instead of raising it: its next run does the work. Returns 0 then, and for None."""

    @wraps(job)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return await job(*args, **kwargs) or 0
        except UNAVAILABLE as error:
            _log.warning(
                "job interrupted: Postgres or Redis is unavailable", job=job.__name__, error=str(error)
            )
            return 0

    return guarded
