"""The process of one local worker: a line with the setup, then a line for each stack; a line of answer for each."""

from __future__ import annotations

import io
import json
import sys

from rankone.core.errors import RankOneError
from rankone.core.foreign import explained
from rankone.experiments.workers.doing import answered
from rankone.runtime.memory import spare_imported
from rankone.runtime.quiet import lines_out, quiet_libraries


def main() -> None:
    """Answers {"made": …} or {"refused": words}. What libraries print goes to standard error."""
    quiet_libraries()
    spare_imported()
    lines = io.TextIOWrapper(
        sys.stdin.buffer, encoding="utf8"
    )  # as they are sent, whatever this system's encoding
    out, setup = lines_out(), lines.readline()
    for line in lines:
        try:
            said = {"made": answered(setup, line)}
        except Exception as error:
            words = str(error) if isinstance(error, RankOneError) else explained(error)
            if words is None:
                raise
            said = {"refused": words}
        out.write(json.dumps(said) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
