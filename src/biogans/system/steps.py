"""The progress of work that several functions share."""

import contextlib
from collections.abc import Iterator

from .progress import reading


@contextlib.contextmanager
def shared_steps(title: str, unit: str, number: int) -> Iterator[Iterator[int]]:
    """An iterator of `number` steps, whose progress is shown as that of `progress.reading`.

    Functions that share the work take each of their steps with next() before they make it. One that takes more than
    there are ends with StopIteration, so that a wrong number is noticed.
    """
    with contextlib.closing(iter(reading(title, unit)(range(number)))) as steps:
        yield steps
