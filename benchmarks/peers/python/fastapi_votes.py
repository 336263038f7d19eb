"""A typical voting API. Run as a program, it creates the tables and a counter per tool."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import Identity, UniqueConstraint, literal_column, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

TOOLS = ("uv", "zed", "neovim", "sqlite", "redis", "grafana", "sentry", "postgresql", "playwright", "jenkins")

engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"), pool_size=20, max_overflow=0
)
Session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Vote(Base):
    __tablename__ = "votes"
    __table_args__ = (UniqueConstraint("tool", "voter"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    tool: Mapped[str]
    voter: Mapped[str]
    choice: Mapped[str]


class Counter(Base):
    __tablename__ = "counters"

    tool: Mapped[str] = mapped_column(primary_key=True)
    ship: Mapped[int] = mapped_column(default=0)
    skip: Mapped[int] = mapped_column(default=0)


class VoteIn(BaseModel):
    tool: str
    voter: str
    choice: Literal["ship", "skip"]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/votes")
async def cast(vote: VoteIn) -> dict[str, str]:
    """An answer of 200 means committed."""
    async with Session.begin() as session:
        new = insert(Vote).values(tool=vote.tool, voter=vote.voter, choice=vote.choice)
        upsert = new.on_conflict_do_update(
            index_elements=[Vote.tool, Vote.voter], set_={"choice": new.excluded.choice}
        )
        before = await session.scalar(upsert.returning(literal_column("old.choice")))
        await session.execute(
            update(Counter)
            .where(Counter.tool == vote.tool)
            .values(
                ship=Counter.ship + (int(vote.choice == "ship") - int(before == "ship")),
                skip=Counter.skip + (int(vote.choice == "skip") - int(before == "skip")),
            )
        )
    return {"outcome": "counted"}


async def create() -> None:
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.create_all)
        await conn.execute(insert(Counter).values([{"tool": tool, "ship": 0, "skip": 0} for tool in TOOLS]))
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(create())
