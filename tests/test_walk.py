"""The commands of README and docs in the order they are printed, as a user types them, in one folder per document.

A placeholder (MODEL, DIR) stands for something small; a name that a reader has (my-model, my-lora) for something of his.
What is typed otherwise than it is printed stands in CHANGED, what is not run in NOT_RUN, each with its reason; test_docs.py
parses all of it. Training is run from the recipes as they are but for the numbers in CUT.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from tests.decomposition import published
from tests.helpers import simple_mlp
from tests.integrations.letters import TASK
from tests.labels.server import ok, serving
from tests.prepared import Prepared
from tests.sharing.fake_hub import TOKEN, FakeHub, Repository
from tests.tiny import RECIPE, write_pair
from tests.walking import DOCUMENTS, LABELLER, Walk, labeller, typed

from rankone.edits.adapter_files import write_adapter
from rankone.edits.scales import scale_edit
from rankone.models.loading import load_model
from rankone.models.sources.names import ASSETS
from rankone.parts.book import Book
from rankone.parts.storage import save_parts
from rankone.recipes import HERE, shipped
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.verbs.table import VERBS

# The beginning of a command → why it is not run at all.
NOT_RUN = {
    "import wandb:": "W&B's servers; tests/decomposition/importers",
    "push runs/fr.harvest": "a harvest of French and its labels, sent and searched by name; tests/sharing/test_folders.py",
    "push runs/fr.labels": "the same",
    "search French --harvest me/french": "the same",
    "lm-eval edit --model my-model --tasks hellaswag": "its questions come over the network; the next line is run",
}
# Verbs that no document prints as a command → where they are run.
NOT_PRINTED = {
    "merge-harvest": "joins what several processes harvested; tests/cli/test_harvest.py",
}
# The beginning of a command → words exchanged ('' puts words at the end); why.
CHANGED = {
    # smollm2 is 0.27 GB over the network, and half an hour of work: the same commands on mini
    "fetch smollm2": [("smollm2", "mini")],
    "demo --model smollm2": [("smollm2", "mini"), ("", "--recipe recipes/demo-mini.yaml")],
    # hours of training: a few steps of it, from recipes that are cut
    "decompose runs/mini/model --recipe decompose-mini-3": [("1200", "2")],
    "decompose mini --recipe capacity/": [("", "--steps 2")],
    "decompose runs/": [("", "--evidence none")],
    "select-rates": [("6", "1"), ("", "--recipe recipes/job.yaml")],
    # the full account of 9,216 parts and 6,000 tokens of moments: many minutes on a CPU; the account of a tiny model's
    "evidence mini-decomposition": [("mini-decomposition", "tiny/decomposition"), ("", "--model tiny/model")],
    "find mini --of de --against en,fr,es,it,code": [("6000", "600"), ("12", "2")],
    "transcoders-compare runs/transcoders": [("", "--tokens 2048 --neurons 8 --levels 0.1")],
    # mini writes no lists; it speaks of the Union. Its parts are others than SmolLM2's
    "collect runs/smollm2": [("list", "union=Union")],
    "find runs/smollm2 --of list": [
        *[("list", "union"), ("no-list,en,code", "no-union,en,code")],
        ("", "--tokens 300 --rank-tokens 60 --shortlist 1"),
    ],
    "edit discriminant-list/": [
        (
            "discriminant-list/model.layers.15.self_attn.o_proj:0=-1",
            "neuron/model.layers.3.mlp.down_proj:270=-2",
        )
    ],
    # the same of mini
    "studio runs --model runs/smollm2": [("runs/smollm2", "my-model"), ("runs/found", "my-parts")],
    # names that only their reader knows
    "tune smollm2": [("PART", "PART")],
    "tune --scale PAIR": [("PAIR", "PAIR")],
    # the published tokenizer is on the Hub
    "import downloads/": [("EleutherAI/gpt-neox-20b", "tokenizer")],
    "label runs/harvest --out runs/labels-llm": [(LABELLER, "")],
}
# Recipe → what is exchanged in it, so that hours become seconds. Everything else is as it ships.
CUT = {
    "mini": {"tokens: 14000000": "tokens: 8192", "tokenizer_chars: 24000000": "tokenizer_chars: 400000"},
    "decompose-*": {r"^steps: \d+": "steps: 4"},
    "german": {  # the whole grid, all methods, and `--preset quick`
        r"^budgets: .*": "budgets: [2, 8]",
        r"^  others: .*\n": "",
        "^seeds: 9": "seeds: 1",
        "^weights: .*": "weights: [1.0]",
        "^tuning_seeds: 2": "tuning_seeds: 1",
        "steps: 3000, patience: 300": "steps: 6, patience: 3",
        "^cap: 1.0": "cap: 1.0\\nselection_tokens: 400\\ncandidates: 2\\npick_tokens: 60\\nretain_tokens: 400\\n"
        "validation_tokens: 100\\ntest_tokens: 100",
        "^    seeds: 3": "    seeds: 1",
        "steps: 60, patience: 30": "steps: 6, patience: 3",
        "^    test_tokens: 500": "    test_tokens: 100",
    },
    "french": {  # for `--preset controls`: 35 minutes as it ships, beside other work
        "^seeds: 9": "seeds: 1",
        r": \[32\]": ": [8]",
        "steps: 60, patience: 30": "steps: 6, patience: 3",
        "^cap: 1.0": "cap: 1.0\\nselection_tokens: 400\\ncandidates: 2\\npick_tokens: 60\\nretain_tokens: 400\\n"
        "validation_tokens: 100\\ntest_tokens: 100",
    },
    "transcoders-mini": {"^tokens: .*": "tokens: 4096"},
    "recipes/job.yaml": {r"steps: 150": "steps: 6", r"^seeds: 9": "seeds: 1", r": \[32\]": ": [8]"},
    "recipes/demo-mini.yaml": {
        "^sites: .*": "sites: [h.3.mlp.down_proj]",
        "^tokens: .*": "tokens: 300",
        "rank_tokens: .*": "rank_tokens: 60",
        "lora_steps: .*": "lora_steps: 4",
        "test_tokens: .*": "test_tokens: 200",
        "answer_tokens: .*": "answer_tokens: 6",
    },
}
# torchrun on several GPUs or machines: tests/cli/test_torchrun.py, with two processes
REVISION = "v1"


def recipes(folder: Path) -> None:
    """Cut recipes in a reader's folder, named as those that ship: a command that names one reads the file that is there."""
    (folder / "recipes").mkdir()
    for name in ("demo-rates.json", "demo-reference.json"):
        shutil.copy(HERE / name, folder / "recipes" / name)
    jobs = {"recipes/job.yaml": shipped()["demo"], "recipes/demo-mini.yaml": shipped()["demo-smollm2"]}
    whole = {**shipped(), **jobs}
    for pattern, exchanges in CUT.items():
        names = fnmatch.filter(whole, pattern)
        assert names, f"no recipe is called {pattern}"
        for name in names:
            text = whole[name].read_text("utf8")
            for old, new in exchanges.items():
                text, times = re.subn(old, new, text, flags=re.MULTILINE)
                assert times, f"{name} has no {old}"
            (folder / name).write_text(text, "utf8")


def text_folder(folder: Path) -> None:
    """Text by domain under the names of the sources that the recipes train on."""
    corpus = BuiltinCorpus()
    sources = yaml.safe_load(shipped()["mini"].read_text("utf8"))["mixture"]
    for domain in corpus.domains():
        (folder / domain).mkdir(parents=True)
        for split in ("train", "validation", "test"):
            text = "\n\n".join(corpus.documents(domain, split))
            for source in sources.get(domain, {"sources": ["own"]})["sources"]:
                (folder / domain / f"{source}.{split}.txt").write_text(text, "utf8")


def changed_mini(part: str, alpha: float):
    """The built-in model, and an edit of it."""
    model = load_model(ASSETS / "mini")
    return model, scale_edit(Book([], model), {part: alpha}).bind(model)


def own_things(folder: Path, tokenizer) -> None:
    """What a reader has: models, text, recipes, artefacts, a LoRA, a task of lm-eval, downloads."""
    sizes = {
        **{"hidden_size": 16, "num_hidden_layers": 12, "num_attention_heads": 2, "intermediate_size": 24},
        "max_position_embeddings": 128,
    }
    simple_mlp(vocab_size=len(tokenizer), **sizes).save_pretrained(folder / "MODEL")
    tokenizer.save_pretrained(folder / "MODEL")
    tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "RECIPE").write_text(yaml.safe_dump(RECIPE), "utf8")
    (folder / "tiny").mkdir()
    write_pair(folder / "tiny", tokenizer, len(tokenizer))
    text_folder(folder / "DIR")
    (folder / "TEXT").symlink_to(folder / "DIR")
    for name in ("fr", "de", "mine"):
        shutil.copytree(ASSETS / "mini-decomposition", folder / "runs" / name)
    shutil.copytree(ASSETS / "mini", folder / "my-model")
    model, edit = changed_mini("neuron/h.3.mlp.down_proj:270", -4.0)
    (folder / "my-lora").mkdir()
    write_adapter(model, edit.factors, folder / "my-lora", "my-model")
    neurons = Book([], model).gathered(["neuron/h.3.mlp.down_proj:270"])
    save_parts([neurons], model, folder / "my-parts")
    task(folder / "my-tasks")
    config = {**published.MODEL_CONFIG, "vocab_size": len(tokenizer), "n_ctx": 64, "block_size": 64}
    published.write_run(folder / "downloads" / "s-55ea3f9b", config=config)
    published.write_target(folder / "downloads" / "t-9d2b8f02", config)
    recipes(folder)
    (folder / "tmp").mkdir()


def task(folder: Path) -> None:
    """A task of lm-eval with its questions beside it."""
    folder.mkdir()
    rows = [{"question": "Der Ausschuss", "choices": [" hat", " of"], "answer": 0}] * 4
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf8")
    text = TASK.format(data=folder / "mine.jsonl").replace("task: letters", "task: mine")
    (folder / "mine.yaml").write_text(text, "utf8")


@pytest.fixture(scope="module")
def walk(tmp_path_factory, tokenizer):
    """A folder per document, a labelling server and a Hub of this machine with an edit on it."""
    root = tmp_path_factory.mktemp("walk")
    hub = FakeHub()
    _, edit = changed_mini("neuron/h.3.mlp.down_proj:270", -4.0)
    edit.save_pretrained(root / "no-german")
    files = {p.name: p.read_bytes() for p in (root / "no-german").iterdir()}
    hub.repositories["me/no-german"] = Repository(commits={REVISION: files})
    with serving(lambda body: ok(labeller(body))) as (url, _):
        changes = {**CHANGED, "label runs/harvest --out runs/labels-llm": [(LABELLER, url)]}
        online = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        environment = {
            "COLUMNS": "80",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(root / "datasets"),
            "HF_HUB_CACHE": str(root / "cache"),
        }
        prepared = Prepared({**os.environ, **environment})
        made = Walk(
            root,
            changes,
            NOT_RUN,
            lambda folder: own_things(folder, tokenizer),
            environment,
            prepared,
            {"hub": {**online, "HF_HUB_OFFLINE": "0"}},
        )
        yield made
        prepared.close()
    hub.close()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.stem)
def test_every_command_does_what_it_says(document, walk):
    wrong = walk.document(document)
    assert not wrong, "\n\n".join(wrong)
    if document.stem == "README":
        folder = walk.folder(document)
        assert (folder / "runs" / "part.html").is_file()
        assert (folder / "runs" / "german-lora" / "adapter_config.json").is_file()


def test_what_is_not_typed_as_it_is_printed_is_printed_somewhere():
    every = [" ".join(words) for document in DOCUMENTS for words in typed(document)]
    assert len(every) > 80
    starts = [*NOT_RUN, *CHANGED]
    assert [start for start in starts if not any(line.startswith(start) for line in every)] == []
    for start, exchanges in CHANGED.items():
        lines = [line.split() for line in every if line.startswith(start)]
        assert all(old in words for words in lines for old, _ in exchanges if old), start


def test_every_verb_is_typed_somewhere():
    typed_verbs = {words[0] for document in DOCUMENTS for words in typed(document)}
    assert set(VERBS) - typed_verbs == set(NOT_PRINTED)
    assert {start.split()[0] for start in NOT_RUN} <= typed_verbs
