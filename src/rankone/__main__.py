"""`python -m rankone` is the `rankone` command."""

from __future__ import annotations

from rankone.cli import main

if __name__ == "__main__":
    main()
