"""Make the list of parts that the studio shows of the built-in decomposition, from a harvest and its labels.

rankone harvest --out runs/harvest
rankone label runs/harvest --out runs/labels
python -m perf.studio_parts runs/harvest runs/labels
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path

import zopfli.gzip

from rankone import open as open_session
from rankone.studio.listed.columns import SHIPPED, made, write_columns


def pack(path: Path) -> None:
    """Pack gzipped JSON again, whole numbers without `.0` and others in ten thousandths, as small as gzip can read it."""
    columns = _plain(json.loads(gzip.decompress(path.read_bytes())))
    text = json.dumps(columns, ensure_ascii=False, separators=(",", ":"))
    shorter = re.sub(r"(?<=[\[,])0\.\d+(?=[\],])", _in_ten_thousandths, text)
    if json.loads(shorter) != columns:
        raise AssertionError("packing changed the list")
    path.write_bytes(zopfli.gzip.compress(shorter.encode(), numiterations=60))


def _in_ten_thousandths(number: re.Match[str]) -> str:
    """`0.0123` as `123e-4`, which packs smaller; a number with more digits as it is."""
    shorter = f"{round(float(number[0]) * 10_000)}e-4"
    return shorter if float(shorter) == float(number[0]) else number[0]


def _plain(value: object) -> object:
    """Whole floats as integers; JSON has one kind of number."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
