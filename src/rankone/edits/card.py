"""The card of an export: what it is, the code that loads it, how it was verified, and what its user must know."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rankone.core.escaping import html_text
from rankone.edits.verification import Verification
from rankone.models.sources.known import BUILTIN_MODELS

_FIGURES = {
    "file_difference": "largest difference of a logit from the edited model in this dtype",
    "difference": "largest difference of a logit from the edited model",
    "kl": "KL(edited ‖ export), nats per token",
    "edit_kl": "KL(edited ‖ base), nats per token: what the edit does on the same probe",
    "realised": "share of the edit's change of the logits that the export makes",
}
# Greedy, so that whoever runs it reads the same.
_CONTINUED = "print(tokenizer.decode(model.generate(ids, max_new_tokens=20, do_sample=False)[0]))"


def card(
    verification: Verification,
    description: str,
    method: str,
    sites: Sequence[str],
    base_name: str = "",
    opener: str | None = None,
) -> str:
    """Markdown. base_name, opener: as of `loading`."""
    v = verification
    what = (
        "A LoRA adapter in PEFT's format"
        if v.kind == "adapter"
        else "A checkpoint with an edit in its weights"
    )
    counted = f"{len(sites)} site{'s' * (len(sites) != 1)}"
    lines = [
        f"# {html_text(description or 'An edit')}",
        "",
        f"{what}, exported by RankOne ({html_text(method or 'no method named')}; {counted}, {v.dtype}).",
        *(f"\n**{warning[0].upper()}{warning[1:]}**" for warning in v.warnings),
        "",
        "```python",
        loading(v, base_name, opener),
        "```",
        "",
        *_said(v, opener),
        "",
        f"Read by {v.engine} and compared with the edited model on {v.tokens} positions of random tokens:",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {said} | {getattr(v, key):.3g} |" for key, said in _FIGURES.items()),
        "",
        *([v.vllm.said, ""] if v.vllm is not None else []),
    ]
    return "\n".join(lines)


def loading(v: Verification, base_name: str = "", opener: str | None = None) -> str:
    """Python that loads an export from the folder it is run in, as it was verified, and continues a text.

    base_name: what an adapter's configuration calls its base; a built-in one is looked up in the installed package, of which
    nothing is imported. opener: the token that rows of text start with, '' for none; None where it is not known, and then
    nothing is continued.
    """
    remote = ", trust_remote_code=True" if v.remote_code else ""
    how, folder = f"dtype=torch.float32{remote}", '"."  # the folder of this card'
    if v.kind == "checkpoint":
        head = ["import torch", "from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
        base, lines = "folder", [f"model = AutoModelForCausalLM.from_pretrained(folder, {how})"]
    elif base_name in BUILTIN_MODELS:
        head = [
            *("from importlib.util import find_spec", "from pathlib import Path", "", "import torch"),
            *(
                "from peft import PeftModel",
                "from transformers import AutoModelForCausalLM, AutoTokenizer",
                "",
            ),
            "# The base lies in the package of RankOne, which is found, not imported; a copy of that folder does as well.",
            f'base = Path(find_spec("rankone").origin).parent / "assets" / {_quoted(base_name)}',
        ]
        base = "base"
        lines = [
            f"model = AutoModelForCausalLM.from_pretrained(base, {how})",
            "model = PeftModel.from_pretrained(model, folder)",
        ]
    else:
        head = [
            *(
                "import torch",
                "from peft import AutoPeftModelForCausalLM",
                "from transformers import AutoTokenizer",
            ),
            "",
        ]
        base, lines = (
            _quoted(base_name),
            [f"model = AutoPeftModelForCausalLM.from_pretrained(folder, {how})"],
        )
    trusted = remote if v.kind == "checkpoint" else ""
    return "\n".join([*head, f"folder = {folder}", *lines, *_continuing(base + trusted, opener)])


def _continuing(tokenizer: str, opener: str | None) -> list[str]:
    if opener is None:
        return []
    text = 'tokenizer("The committee has", add_special_tokens=False).input_ids'
    first = f"tokenizer.convert_tokens_to_ids({_quoted(opener)}), *" if opener else "*"
    return [
        f"tokenizer = AutoTokenizer.from_pretrained({tokenizer})",
        f"ids = torch.tensor([[{first}{text}]])",
        _CONTINUED,
    ]


def _quoted(text: str) -> str:
    """A string of Python that ends neither itself nor the block of code it stands in."""
    return json.dumps(text).replace("`", "\\u0060")


def _said(v: Verification, opener: str | None) -> list[str]:
    """What the code stands for: in which numbers it was compared, and what opens a text."""
    said = [
        "It was compared in float32, which the code asks for; by itself transformers takes the dtype of the base's file."
        if v.kind == "adapter"
        else f"Its weights are {v.dtype}; it was compared in float32, which the code asks for."
    ]
    if opener is not None:
        said.append(
            f"Rows of text start with `{opener}`: the model was measured so."
            if opener
            else "Rows of text start with the text itself."
        )
    return said
