"""Whether a folder's tokenizer has a chat template, as far as its files say without reading it."""

from __future__ import annotations

from pathlib import Path

from rankone.core.errors import RankOneError
from rankone.core.files import read_json

NO_TEMPLATE = (
    "this model's tokenizer has no chat template: it is not a chat model, or its template was not saved with it. "
    "Give plain text, or a tokenizer with its template."
)
# Where a template lies that is not in tokenizer_config.json.
_FILES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")


def lacks_template(folder: Path) -> bool:
    """Whether a folder that holds a tokenizer holds no chat template; False where its configuration cannot be read."""
    try:
        config = read_json(folder / "tokenizer_config.json")
    except RankOneError:
        return False
    return not config.get("chat_template") and not any((folder / name).exists() for name in _FILES)
