"""Pages as the platform cuts them: `page` from 1, `size` of 15 unless asked, at most 250."""

import re
from typing import Annotated, Final, Generic, NamedTuple, TypeVar

from fastapi import Depends, Path, Query
from pydantic import BaseModel, BeforeValidator, Field

from schemas.wire import Instant
from sinks.asked import Window

DEFAULT_SIZE: Final = 15
LARGEST_SIZE: Final = 250
_LAST_PAGE: Final = 2**31 - 1
_LARGEST_ID: Final = 2**63 - 1
# No NUL, which no text of the database holds, and nothing longer than an identifier may be.
_TEXT: Final = r"^[^\x00]+$"

IdInPath = Annotated[int, Path(ge=1, le=_LARGEST_ID)]
IdInQuery = Annotated[int | None, Query(ge=1, le=_LARGEST_ID)]
TextInPath = Annotated[str, Path(min_length=1, max_length=255, pattern=_TEXT)]
TextInQuery = Annotated[str | None, Query(min_length=1, max_length=255, pattern=_TEXT)]


def _with_its_plus(value: str) -> str:
    """A `+` that a client did not write as %2B arrives as a blank; between time and offset it can be nothing else."""
    return re.sub(r" (?=\d\d:\d\d$)", "+", value)


InstantInQuery = Annotated[
    Annotated[Instant, BeforeValidator(_with_its_plus)] | None, Query(description="RFC 3339 with seconds and zone.")
]

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    content: list[Item]
    page: int = Field(description="The first is 1.")
    size: int = Field(description="Most objects of a page.")
    total: int = Field(description="Objects on all pages.")
    first: bool
    last: bool


class _Asked(NamedTuple):
    page: int
    size: int

    @property
    def window(self) -> Window:
        return Window((self.page - 1) * self.size, self.size)

    def of(self, content: list[Item], total: int) -> Page[Item]:
        """The page that was asked for."""
        return Page(
            content=content,
            page=self.page,
            size=self.size,
            total=total,
            first=self.page == 1,
            last=self.page * self.size >= total,
        )


def _asked(
    page: Annotated[int, Query(ge=1, le=_LAST_PAGE, description="The first is 1.")] = 1,
    size: Annotated[int, Query(ge=1, le=LARGEST_SIZE)] = DEFAULT_SIZE,
) -> _Asked:
    return _Asked(page, size)


ThePage = Annotated[_Asked, Depends(_asked)]
