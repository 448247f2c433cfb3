"""Names of parts that the page sends, checked as `rankone edit` checks them: by what is open, without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from rankone.core.errors import RankOneError
from rankone.core.escaping import clipped
from rankone.opening import Opening, OpenOptions

# Characters of a reason: a name may be as long as a request.
_LONGEST = 400


class Known:
    """The parts that can be turned in one opening."""

    def __init__(self, options: OpenOptions) -> None:
        self._options = options

    def require(self, names: Sequence[str]) -> None:
        """RankOneError for the first name that is not that of a single part that is there."""
        from rankone.verbs.part_names import require_parts  # seconds, which the start does not have

        try:
            require_parts(Opening(self._options), names)
        except RankOneError as error:
            raise RankOneError(clipped(str(error), _LONGEST)) from error

    def refused(self, names: Sequence[str]) -> dict[str, str]:
        """Every name that is not that of a single part, with the reason."""
        reasons: dict[str, str] = {}
        try:
            self.require(names)
        except RankOneError:
            for name in names:
                try:
                    self.require([name])
                except RankOneError as error:
                    reasons[name] = str(error)
        return reasons
