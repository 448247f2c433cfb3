"""Tokenizers with chat templates, small enough to write their ids down."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

# As SmolLM2-Instruct has it: BOS opens turns, EOS ends them, the token between texts is neither.
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As Llama 3 and Mistral have it: BOS once.
ONCE = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{{ eos_token }}{% endfor %}"
WORDS = ["a", "b", "c", "user", "assistant", "system"]


def chat_tokenizer(template=CHATML, bos="<|im_start|>", eos="<|im_end|>", extra="<|endoftext|>"):
    """Words of one letter and three special tokens: extra 0, bos 1, eos 2, then WORDS from 3 on."""
    specials = [t for t in (extra, bos, eos) if t]
    vocabulary = {w: i for i, w in enumerate([*specials, *WORDS, "?"])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=bos, eos_token=eos, unk_token="?")
    tokenizer.add_special_tokens({"additional_special_tokens": specials})
    tokenizer.chat_template = template
    return tokenizer
