"""Every verb on a model in bf16, on the CPU: `python -m tests.standin.half FOLDER [VERB …]` prints what each came to."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.standin.verbs import VERBS, World

from rankone.core.errors import RankOneError


def main(folder: Path, wanted: Sequence[str] = ()) -> None:
    """`VERB: ok`, `VERB: refused: …` of an error that names a mend, or what broke."""
    world = World(folder / "world", "cpu", "bfloat16")
    for name in wanted or VERBS:
        try:
            VERBS[name](world)
        except RankOneError as error:
            outcome = f"refused: {error}"
        except Exception as error:
            traceback.print_exc()
            outcome = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        else:
            outcome = "ok"
        sys.stdout.write(f"{name}: {outcome}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
