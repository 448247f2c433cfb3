"""Make the list of parts that the studio shows of the built-in decomposition, from a harvest and its labels.

rankone harvest --out runs/harvest
rankone label runs/harvest --out runs/labels
python perf/studio_parts.py runs/harvest runs/labels
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import zopfli.gzip

from rankone import open as open_session
from rankone.studio.listed.columns import SHIPPED, made, write_columns


def pack(path: Path) -> None:
    """Pack a gzipped file again, as small as gzip can read it."""
    path.write_bytes(zopfli.gzip.compress(gzip.decompress(path.read_bytes())))


def main(harvest: str, labels: str) -> None:
    """Write assets/mini-parts.json.gz."""
    session = open_session("mini", harvest=harvest, labels=labels)
    store, named = session.require_harvest("the list"), session.require_labels("the list")
    store.require_origin(session.decomposition, session.model)
    write_columns(made(store, named, session.decomposition_artifact.fingerprint), SHIPPED)
    pack(SHIPPED)
    sys.stdout.write(f"{SHIPPED}: {SHIPPED.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
