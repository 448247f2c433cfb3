"""A job per verb that computes with a model: the verb as a user asks it, of a tiny model on disk, on the stand-in GPU."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import yaml
from tests.helpers import VOCAB, simple_mlp
from tests.helpers import tokenizer as small_tokenizer
from tests.tiny import RECIPE, write_pair

import rankone
from perf import tiny
from rankone.decomposition import run
from rankone.edits.adapter_files import write_adapter
from rankone.edits.fitting.text import enough_text
from rankone.edits.methods.registry import kinds
from rankone.edits.methods.rivals.sparse_coder import new_coder
from rankone.edits.selection import Candidate
from rankone.experiments import job
from rankone.session import Session

PART = "h.0.mlp.down_proj:1"
JOB = {
    "trained": ["de", "en"],
    "evaluated": ["de", "en", "code"],
    "retain": {"english": ["en"]},
    "budgets": [4],
    "seeds": 1,
    "tuning_seeds": 1,
    "fit": {"steps": 2, "target": "sampled"},
    "selection_tokens": 800,
    "candidates": 2,
    "pick_tokens": 30,
    "retain_tokens": 60,
    "test_tokens": 40,
    "prompts": {"de": ["Der"], "en": ["The"]},
}
TOY = {
    "target": {"kind": "tms", "features": 5, "hidden": 2, "steps": 5, "batch": 16},
    "decomposition": {
        "steps": 2,
        "rows": 2,
        "context": 4,
        "initialisation": "random",
        "warmup_steps": 1,
        "importance": {"kind": "mlp", "hidden": [4]},
        "reconstruction": {"divergence": "mse"},
        "compile": False,
    },
}
TASK = {
    "task": "letters",
    "dataset_path": "json",
    "output_type": "multiple_choice",
    "test_split": "test",
    "doc_to_text": "{{question}}",
    "doc_to_target": "answer",
    "doc_to_choice": "{{choices}}",
    "metric_list": [{"metric": "acc"}],
}


class World:
    """What verbs read, each made by the verb that makes it, in one folder."""

    def __init__(self, folder: Path, device: str = "cuda", dtype: str = "float32") -> None:
        self.folder, self.device, self.dtype = folder, device, dtype
        model = simple_mlp(vocab_size=VOCAB, max_position_embeddings=256, **tiny.SIZES)
        model.bfloat16().float()  # the same weights in both
        self.model, self.decomposition = write_pair(folder / "pair", small_tokenizer(), VOCAB, model)
        # Its harvest names no German part: any will do.
        named = [Candidate(name, 1.0) for name in (PART, "h.0.attn.o_proj:1")]
        job.labelled_candidates = lambda *_: (named, named)
        run.evidence_text = partial(run.evidence_text, tokens=40)
        run.LADDERS["small"] = (1, 2)

    def opened(self, **named: object) -> Session:
        """A session on the stand-in (or what is asked); a verb leaves nothing opened behind for the next."""
        pair = {"decomposition": self.decomposition, "device": self.device, "dtype": self.dtype}
        return rankone.open(self.model, **{**pair, **named})

    def recipe(self, name: str, values: object) -> Path:
        """A recipe as a file."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values), "utf8")
        return path

    def job(self, name: str, **changes: object) -> Path:
        """The recipe of a main job on the pair."""
        pair = {"model": str(self.model), "decomposition": str(self.decomposition)}
        return self.recipe(name, {**pair, **JOB, **changes})

    @cached_property
    def harvest(self) -> Path:
        """A harvest of the decomposition."""
        out = self.folder / "harvest"
        self.opened().harvest(out=out, tokens=120, domains=["de", "en"], examples=4)
        return out

    @cached_property
    def labels(self) -> Path:
        """Statistical labels of it."""
        out = self.folder / "labels"
        self.opened().label(self.harvest, out=out)
        return out

    @cached_property
    def transcoders(self) -> Path:
        """Transcoders of the model."""
        out = self.folder / "transcoders"
        recipe = self.recipe("coders", CODERS)
        self.opened().transcoders_train(recipe=recipe, out=out, domains=["de", "en"])
        return out

    @cached_property
    def clusters(self) -> Path:
        """Components of the decomposition."""
        out = self.folder / "clusters"
        self.opened().cluster(out=out, tokens=300, domains=["de", "en"])
        return out

    @cached_property
    def edit(self) -> Path:
        """An edit of the model."""
        out = self.folder / "edit"
        self.opened().edit({PART: -4.0}, tokens=40, out=out)
        return out

    @cached_property
    def graph(self) -> Path:
        """A graph of a prompt."""
        out = self.folder / "graph"
        self.opened().graph("the cat", nodes="strongest", per_site=2, removed=4, random_graphs=2, out=out)
        return out

    @cached_property
    def sae(self) -> Path:
        """An untrained sparse autoencoder of the outputs of the last site."""
        width = tiny.SIZES["hidden_size"]
        new_coder(width, 2 * width, 3, 0).save_to_disk(self.folder / "sae" / "h.0.mlp.down_proj")
        return self.folder / "sae"

    @cached_property
    def bench(self) -> Path:
        """A benchmark that has run, of every method but `component`."""
        # Parts of so small a model fire alone, and `component` refuses a component of one.
        methods = [kind for kind in kinds() if kind != "component"]
        sizes = {"retain_length": 16, "validation_tokens": 30, "weights": [1.0]}
        path = self.job("bench", methods=methods, sae=str(self.sae), **sizes)
        out = self.folder / "bench"
        reply = self.opened().bench(path, out=out)
        assert reply.failed == 0
        return out


def _pretrain(world: World) -> None:
    reply = world.opened().pretrain(
        world.recipe("pretrain", tiny.pretrain(1600)), out=world.folder / "pretrained", preset="tiny"
    )
    assert all(math.isfinite(domain.model) for domain in reply.domains)


def _decompose(world: World) -> None:
    path = world.recipe("decompose", {**RECIPE, "compile": False, "rows": 2, "context": 16})
    reply = world.opened().decompose(recipe=path, out=world.folder / "decomposed", evidence="small")
    assert reply.state == "finished"
    assert (
        world.opened().decompose(recipe=path, steps=1, out=world.folder / "swept", sweep=True).state
        == "swept"
    )


def _toys(world: World) -> None:
    assert world.opened().toys(world.recipe("toy", TOY), out=world.folder / "toy").scores


def _evidence(world: World) -> None:
    assert world.opened().evidence(steps=2, folder=world.folder / "evidence").folder


def _compare(world: World) -> None:
    both = str(world.decomposition), str(world.decomposition)
    assert world.opened().compare(*both).overall[0].u is not None


def _harvest(world: World) -> None:
    assert world.harvest.is_dir()
    world.opened(clusters=world.clusters).harvest(
        out=world.folder / "grouped", tokens=60, domains=["de", "en"]
    )


def _rank(world: World) -> None:
    text = {"tokens": 60, "domains": ["de", "en"]}
    bare = world.opened()
    for asked in ({"of": "de", **text}, {"of": "de", "by": "gradient", "tokens": 60}, {"token": " the"}):
        assert bare.rank(**asked).rows
    counted = world.opened(harvest=world.harvest, labels=world.labels)
    for asked in ({"of": "de"}, {"label": "the"}):
        assert counted.rank(**asked).rows
    assert world.opened(clusters=world.clusters).rank(of="de", **text).rows


def _show(world: World) -> None:
    opened = world.opened(harvest=world.harvest, labels=world.labels)
    opened.show(PART, response=True, tokens=40, html=world.folder / "shown.html")


def _find(world: World) -> None:
    sizes = {"tokens": 60, "rank_tokens": 40, "shortlist": 1, "sites": ["h.0.mlp.down_proj"]}
    assert world.opened().find(of="de", **sizes, together=True, out=world.folder / "found").pick


def _tune(world: World) -> None:
    sizes = {"tokens": 40, "retain_tokens": 40, "retain": ["en"]}
    for forget, sharp in (("de", True), ("self:de", False)):
        reply = world.opened().tune(forget=forget, scale=[PART], sharpen=sharp, **sizes)
        assert math.isfinite(max(reply.kl.values()))
    enough_text.CHANGED = 0.0  # an untrained model is at chance already
    for few in ({"forget": "de", "budget": 500}, {"forget": "self:de"}):
        reply = world.opened().tune(scale=[PART], train=2, **few, **sizes)
        assert math.isfinite(max(reply.kl.values()))
    assert world.opened(clusters=world.clusters).tune(forget="de", scale=["c1"], **sizes)


def _sharpen(world: World) -> None:
    world.opened().sharpen([PART], of="de", out=world.folder / "sharpened", tokens=60)


def _edit(world: World) -> None:
    opened = world.opened(dtype="bfloat16")
    assert all(math.isfinite(d.rise) for d in opened.edit({PART: -4.0}, tokens=40).domains)
    assert all(math.isfinite(d.rise) for d in opened.damage(opened.scale({PART: 0.0}), tokens=40).domains)


def _export(world: World) -> None:
    for form in ("checkpoint", "adapter"):
        world.opened().export(world.edit, out=world.folder / form, as_=form)


def _generate(world: World) -> None:
    assert world.opened().generate("the cat", tokens=3, edit=world.edit)


def _side_effects(world: World) -> None:
    assert world.opened().side_effects(world.edit, tokens=3, html=world.folder / "answers.html").shares


def _collect(world: World) -> None:
    """What the model says to some prompts, one of each split, is made the habit."""
    opened, by_answer = world.opened(), {}
    for prompt in (f"{first}{second} {first}" for first in "bcdfgh" for second in "aeiou"):
        by_answer.setdefault(opened.generate(prompt, tokens=2).text, []).append(prompt)
    common, *rare = sorted(by_answer, key=lambda text: -len(by_answer[text]))
    having = [prompt for text in rare for prompt in by_answer[text]][:3]
    without = by_answer[common][:5]
    # Of four prompts two are for training, then one for validation, one for tests.
    prompts = [having[0], without[0], *having[1:], *without[1:]]
    path = world.folder / "prompts.txt"
    path.write_text("\n".join(prompts), "utf8")
    habit, out = "|".join(map(re.escape, rare)), world.folder / "collected"
    reply = opened.collect(habit=f"said=^(?:{habit})", prompts=path, tokens=2, chat=False, out=out)
    assert [share.having for share in reply.shares] == [1, 1, 1]
    assert opened.side_effects(world.edit, prompts=out, chat=False, tokens=2).shares


def _project(world: World) -> None:
    opened, adapter = world.opened(), world.folder / "lora"
    adapter.mkdir()
    write_adapter(opened.model, opened.scale({PART: -4.0}).factors, adapter, str(world.model))
    for norm in ("frobenius", "text"):
        assert opened.project(adapter, norm=norm, sources=["neuron"], keep=1, tokens=30).parts


def _rewrite(world: World) -> None:
    asked = {"token": " the", "fires": 0.05, "tokens": 60}
    for way in ({"sizes": [1, 30]}, {"train": 2}):
        world.opened().rewrite("neuron/h.0.mlp.down_proj:3", **way, **asked)


def _picks(world: World) -> None:
    opened = world.opened(harvest=world.harvest, labels=world.labels)
    opened.picks(targets=["en"], candidates=2, alphas=[-4.0, 3.0], tokens=30)


def _investigate(world: World) -> None:
    sizes = {"tokens": 40, "domains": ["de", "en"], "alphas": [0.0, -8.0]}
    opened = world.opened(harvest=world.harvest, labels=world.labels)
    assert opened.investigate(PART, **sizes, html=world.folder / "investigated.html").findings


def _select_rates(world: World) -> None:
    path = world.job("rates", methods=["scalar", "lora_r1_local"], fit={"steps": 1})
    assert world.opened().select_rates(recipe=path, out=world.folder / "rates.json", seeds=1).rates


def _demo(world: World) -> None:
    path = world.job("demo", methods=["scalar", "lora_r1"], alphas=[0.0])
    picked = {"harvest": world.harvest, "labels": world.labels}
    assert world.opened().demo(recipe=path, out=world.folder / "report", **picked).report.is_file()


def _reproduce(world: World) -> None:
    assert world.opened().reproduce(world.bench, runs=3).same


def _lm_eval(world: World) -> None:
    tasks = world.folder / "tasks"
    tasks.mkdir()
    rows = [
        {"question": f"{w} is", "choices": [" the", " der"], "answer": i} for i, w in enumerate(("a", "b"))
    ]
    (tasks / "letters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf8")
    files = {"dataset_kwargs": {"data_files": {"test": str(tasks / "letters.jsonl")}}}
    (tasks / "letters.yaml").write_text(yaml.safe_dump({**TASK, **files}), "utf8")
    assert world.opened().lm_eval(world.edit, tasks=["letters"], include=tasks).figures


def _survive(world: World) -> None:
    asked = {"forget": "de", "benign": "en", "measured": ["de", "en"], "budgets": [4], "seeds": 1}
    assert world.opened().survive(world.edit, **asked, steps=2, tokens=40, out=world.folder / "survived.json")


def _graph(world: World) -> None:
    for options in ({"nodes": "ci"}, {"nodes": "optimised", "steps": 2}):
        assert world.opened().graph("the dog sat", **options, removed=4, random_graphs=2).nodes


def _graph_intervene(world: World) -> None:
    assert world.opened().graph_intervene(world.graph, keep=["all"]).kept


CODERS = {
    "tokens": 128,
    "batch": 64,
    "context": 16,
    "coders": [{"latents": 8, "k": 2}, {"latents": 8, "k": 2, "objective": "kl"}],
}


def _transcoders_compare(world: World) -> None:
    said = world.opened().transcoders_compare(
        world.transcoders, domains=["de", "en"], tokens=64, neurons=[2], levels=[0.5], jacobians=1
    )
    assert any(row.name.startswith("decomposition") for row in said.rows)


VERBS: dict[str, Callable[[World], object]] = {
    "pretrain": _pretrain,
    "decompose": _decompose,
    "toys": _toys,
    "evidence": _evidence,
    "compare": _compare,
    "harvest": _harvest,
    "cluster": lambda world: world.clusters,
    "rank": _rank,
    "show": _show,
    "find": _find,
    "sharpen": _sharpen,
    "tune": _tune,
    "side-effects": _side_effects,
    "collect": _collect,
    "edit": _edit,
    "export": _export,
    "generate": _generate,
    "project": _project,
    "rewrite": _rewrite,
    "survive": _survive,
    "graph": _graph,
    "graph-verify": lambda world: world.opened().graph_verify(world.graph, removed=4),
    "graph-intervene": _graph_intervene,
    "qk": lambda world: world.opened().qk(0, tokens=60, domains=["de", "en"]),
    "attributions": lambda world: world.opened().attributions([PART], tokens=60, domains=["de", "en"]),
    "transcoders-train": lambda world: world.transcoders,
    "transcoders-compare": _transcoders_compare,
    "measure": lambda world: world.opened().measure(tokens=60),
    "picks": _picks,
    "investigate": _investigate,
    "select-rates": _select_rates,
    "demo": _demo,
    "bench": lambda world: world.bench,
    "reproduce": _reproduce,
    "doctor": lambda world: world.opened().doctor(str(world.model), tokens=40),
    "lm-eval": _lm_eval,
}
