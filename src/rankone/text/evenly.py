"""Taking documents evenly from several sources of one domain."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator


def evenly(sources: Iterable[Iterable[str]], limit_chars: int | None = None) -> Iterator[str]:
    """Documents of all sources in turns: next is always the source with the fewest characters so far, the first of equals.

    So any prefix holds about as much text of each source that has not run out, and a limit only says where to stop: after
    the document with which `limit_chars` characters are reached.
    """
    left = [(0, number, iter(source)) for number, source in enumerate(sources)]  # a heap: all are equal
    taken = 0
    while left and (limit_chars is None or taken < limit_chars):
        length, number, source = left[0]
        document = next(source, None)
        if document is None:
            heapq.heappop(left)
            continue
        heapq.heapreplace(left, (length + len(document), number, source))
        taken += len(document)
        yield document
