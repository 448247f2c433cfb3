"""A chat template, wherever its file lies."""

from __future__ import annotations

import json

import pytest

from rankone.text.template import lacks_template


@pytest.mark.parametrize(
    ("config", "file", "lacks"),
    [
        ({}, None, True),
        ({"chat_template": None}, None, True),
        ({"chat_template": "{{ x }}"}, None, False),
        ({}, "chat_template.jinja", False),
        ({}, "chat_template.json", False),
        (None, None, False),
    ],
)
def test_where_it_may_lie(config, file, lacks, tmp_path):
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), "utf8")
    if file is not None:
        (tmp_path / file).write_text("{{ x }}", "utf8")
    assert lacks_template(tmp_path) is lacks
