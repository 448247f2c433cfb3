"""What may not grow unseen: the wheel by the studio, and replies on their way to the page."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

from tests.studio.serving import Served

import rankone.studio
from rankone.studio.listed.columns import SHIPPED

ROOM = Path(rankone.studio.__file__).parent
PART = "h.3.mlp.down_proj:270"


def test_the_studio_and_its_list_of_parts_add_no_more_than_300_kb_to_the_wheel():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in (
            SHIPPED,
            *(
                one
                for one in ROOM.rglob("*")
                if one.is_file() and not {"__pycache__", "types"} & {*one.parts}
            ),
        ):
            wheel.write(file, file.relative_to(ROOM.parent))
    assert len(packed.getvalue()) <= 300_000


def test_every_reply_but_the_list_is_at_most_64_kb_packed(served: Served):
    words = "Der Ausschuss hat gestern beschlossen, dass die Mitglieder " * 4
    replies = {
        "part": served.json("/api/part", {"name": PART}),
        "prompt": served.json("/api/prompt", {"text": words, "top": 12}),
        **{
            path: served.json(f"/api/{path}")
            for path in ("workspace", "edits", "graphs", "runs", "labels", "verbs")
        },
    }
    assert len(replies["prompt"]["tokens"]) > 64
    sizes = {name: len(gzip.compress(json.dumps(reply).encode())) for name, reply in replies.items()}
    assert {name: size for name, size in sizes.items() if size > 65_536} == {}
