"""What the address of a lineage asks for, and the addresses that change one part of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.core.exceptions import BadRequest

from audit.lineage.lanes import ERRORS, NOT_GOOD, View
from audit.views.doors import choice, text

if TYPE_CHECKING:
    from django.http import HttpRequest

PARAMETERS = ("axis", "open", "keep", "gaps", "q", "visit", "cols")
STEP, TIME, TABLE = "step", "time", "table"
AXES = (STEP, TIME, TABLE)
_OPENED = re.compile(r"[0-9a-f]{12}(\.[0-9a-f]{12}){0,49}")
_PAGE = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LineageQuery:
    """The state of a lineage page; all of it stands in the address."""

    axis: str = STEP
    opened: tuple[str, ...] = ()
    keep: str | None = None
    gaps: bool = False
    text: str | None = None
    visit: str | None = None
    page: int = 1

    @property
    def view(self) -> View:
        """What of it chooses lanes."""
        return View(opened=frozenset(self.opened), keep=self.keep, text=self.text)

    def address(self, **changes: Any) -> str:
        """The query string of this view with some parts changed, question mark included."""
        wanted = replace(self, **changes)
        parts = {
            "axis": wanted.axis if wanted.axis != STEP else None,
            "open": ".".join(sorted(set(wanted.opened))) or None,
            "keep": wanted.keep,
            "gaps": "fold" if wanted.gaps else None,
            "q": wanted.text,
            "cols": wanted.page if wanted.page > 1 else None,
            "visit": wanted.visit,
        }
        return "?" + urlencode({name: part for name, part in parts.items() if part is not None})

    @property
    def anywhere(self) -> str:
        """For another token: how it is looked at, not what was picked or searched."""
        query = self.address(visit=None, text=None, page=1)
        return query if len(query) > 1 else ""

    @property
    def drawn(self) -> str:
        """For the picture and the data: the same lanes, nothing picked."""
        return self.address(visit=None, page=1, axis=STEP)

    @property
    def picking(self) -> str:
        """What stands before the id of a visit to pick."""
        query = self.address(visit=None)
        return f"{query}&visit=" if len(query) > 1 else "?visit="

    @property
    def letting_go(self) -> str:
        """Nothing picked."""
        return self.address(visit=None)

    @property
    def on_axes(self) -> tuple[tuple[str, str], ...]:
        """Each axis with its address."""
        return tuple((axis, self.address(axis=axis)) for axis in AXES)

    @property
    def errors_only(self) -> str:
        """Switches between errors alone and all."""
        return self.address(keep=None if self.keep == ERRORS else ERRORS)

    @property
    def without_good(self) -> str:
        """Switches between what was not plainly good, and all."""
        return self.address(keep=None if self.keep == NOT_GOOD else NOT_GOOD)

    @property
    def other_gaps(self) -> str:
        """Folds idle time, or shows it to scale."""
        return self.address(gaps=not self.gaps)

    @property
    def all_folded(self) -> str:
        """Nothing opened."""
        return self.address(opened=())

    @property
    def everything(self) -> str:
        """Nothing left out by choice."""
        return self.address(keep=None, text=None)

    def opening(self, key: str) -> str:
        """One fold more."""
        return self.address(opened=(*self.opened, key))

    def folding(self, key: str) -> str:
        """One fold fewer."""
        return self.address(opened=tuple(one for one in self.opened if one != key))


def read_query(request: HttpRequest) -> LineageQuery:
    """Read the state of the page out of its address.

    Raises:
        BadRequest: a part of it cannot be understood.
    """
    opened = request.GET.get("open") or ""
    if opened and not _OPENED.fullmatch(opened):
        raise BadRequest("“open” names at most fifty folds, twelve digits each, with dots between.")
    page = request.GET.get("cols") or "1"
    if not _PAGE.fullmatch(page):
        raise BadRequest(f"“cols” is the number of a page of columns; it is “{page[:40]}”.")
    return LineageQuery(
        axis=choice(request, "axis", AXES) or STEP,
        opened=tuple(opened.split(".")) if opened else (),
        keep=choice(request, "keep", (ERRORS, NOT_GOOD)),
        gaps=choice(request, "gaps", ("fold",)) is not None,
        text=text(request, "q"),
        visit=text(request, "visit"),
        page=int(page),
    )
