"""The guard of every job: an outage of Postgres or Redis ends the run, not the worker."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

import structlog
from redis.exceptions import RedisError

from services.resources import POSTGRES_UNAVAILABLE
from services.workers.metrics import JOB_SECONDS, JOBS

UNAVAILABLE = (*POSTGRES_UNAVAILABLE, RedisError)

P = ParamSpec("P")
_log = structlog.get_logger()


def survive_outages(job: Callable[P, Awaitable[int | None]]) -> Callable[P, Coroutine[Any, Any, int]]:
    """The job, logging an outage instead of raising it: its next run does the work. Returns 0 then, and for None."""

    @wraps(job)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> int:
        started, outcome = time.perf_counter(), "failed"
        try:
            done = await job(*args, **kwargs) or 0
            outcome = "done"
        except UNAVAILABLE as error:
            outcome = "unavailable"
            _log.warning(
                "job interrupted: Postgres or Redis is unavailable", job=job.__name__, error=str(error)
            )
            return 0
        else:
            return done
        finally:
            JOBS.labels(job.__name__, outcome).inc()
            JOB_SECONDS.labels(job.__name__).observe(time.perf_counter() - started)

    return guarded
