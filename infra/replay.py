"""What travels between ``pullwright replay`` and the runner's program that does it: an order in, a report out."""

from __future__ import annotations

from infra.wire import Strict


class ReplayOrder(Strict, frozen=True, kw_only=True):
    """``cassette``: path of the file. ``git_url`` and ``token``: where the base commit is fetched from, read-only. ``real_time``:
    answers come as slowly as they came then."""

    cassette: str
    git_url: str
    token: str
    real_time: bool = False


class Point(Strict, frozen=True, kw_only=True):
    """One thing that was compared: what was recorded and what the replay came to, as texts."""

    name: str
    same: bool
    recorded: str
    replayed: str


class FirstDifference(Strict, frozen=True, kw_only=True):
    """``number``: of the recorded exchange at which something else was asked, from 1; 0 when no recorded one fits."""

    number: int
    recorded: str
    asked: str


class ReplayReport(Strict, frozen=True, kw_only=True):
    """``alike`` of ``exchanges`` were asked word for word (but for ``ignored``), ``differing`` at the same place with other words.
    ``files``: paths that are not the same. ``notes``: what limits the comparison."""

    points: tuple[Point, ...]
    files: tuple[str, ...]
    exchanges: int
    alike: int
    differing: int
    first_difference: FirstDifference | None
    ignored: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def same(self) -> bool:
        """The files, the ledger and the ending are what they were."""
        return all(point.same for point in self.points)
