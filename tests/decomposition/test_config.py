"""Every field of the recipe changes the run or is refused: each is changed once, in a run of three steps."""

from __future__ import annotations

import copy
import json
import re
import typing

import pytest
import torch
from pydantic import BaseModel, ValidationError
from tests.decomposition.tiny import SIZES, put, target
from tests.helpers import VOCAB
from tests.helpers import tokenizer as small_tokenizer

from rankone.core.errors import RankOneError
from rankone.core.tensors import tensor_hash
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.init.start import new_decomposition
from rankone.decomposition.masking import kernels
from rankone.decomposition.run import training_rows
from rankone.decomposition.training import loop as module
from rankone.decomposition.training import recompute
from rankone.decomposition.training.loop import train
from rankone.decomposition.training.state import state_of
from rankone.decomposition.training.trainer import Trainer
from rankone.subject import Subject
from rankone.text.sources.directory import DirectoryCorpus

SEPARATE = {"reconstruction.form": "separate"}
TRANSFORMERS = ("shared_transformer", "residual_transformer")
MLPS = ("mlp", "vector_mlp", "shared_mlp", "global_shared_mlp")
# Fields that are one of several kinds of configuration, with small sizes for each kind.
KINDS = {
    "importance": {
        **{kind: {"hidden": [4]} for kind in MLPS},
        **{kind: dict(SIZES) for kind in TRANSFORMERS},
    },
    "adversary": {"persistent": {"fraction": 0.6}, "fresh": {"fraction": 0.6, "steps": 1, "step_size": 0.3}},
}
RANDOM = {"initialisation": "random"}
TARGETED = {
    **RANDOM,
    "targeted": {"mixture": {"de": {"weight": 1.0}}},
    "faithfulness": 0,
    "subcomponents": {"*": 3},
}
A_FINISHED_RUN = "<a finished run>"


def schedule(path, start, end):
    """Variations of the five fields of a schedule."""
    return {
        f"{path}.start": (start, {}),
        f"{path}.end": (end, {}),
        f"{path}.shape": ("cosine", {}),
        f"{path}.until": (0.6, {}),
        f"{path}.warmup": (0.3, {}),
    }


# field → (another value, what else the base needs for the field to matter)
VARIATIONS = {
    "sites": (["h.*.attn.*"], {}),
    "targeted.mixture.en.weight": (3.0, TARGETED | {"targeted.mixture.en": {"weight": 1.0}}),
    "targeted.mixture.en.sources": (["one"], TARGETED | {"targeted.mixture.en": {"weight": 1.0}}),
    "targeted.fraction": (0.25, TARGETED),
    "targeted.importance_decay": (10.0, TARGETED),
    "targeted.contrast": (1.0, TARGETED | {"initialisation": "principal"}),
    "subcomponents": ({"h.0.attn.q_proj": 11}, {}),
    "mixture.en.weight": (3.0, {}),
    "mixture.en.sources": (["one"], {}),
    "steps": (4, {}),
    "rows": (3, {}),
    "context": (6, {}),
    "seed": (1, {}),
    "initialisation": ("random", {}),
    "continue_from": (A_FINISHED_RUN, {}),
    "warmup_steps": (1, RANDOM),
    **{f"importance[{kind}].hidden": ([5], {}) for kind in MLPS},
    **{f"importance[{kind}].width": (12, {}) for kind in TRANSFORMERS},
    **{f"importance[{kind}].blocks": (2, {}) for kind in TRANSFORMERS},
    **{f"importance[{kind}].heads": (4, {}) for kind in TRANSFORMERS},
    **{f"importance[{kind}].hidden": (10, {}) for kind in TRANSFORMERS},
    "minimality.kind": ("lp", {}),
    **schedule("minimality.sharpness", 0.7, 0.1),
    "minimality.activity": (0.01, {}),
    "minimality.frequency": (0.01, {}),
    "minimality.reference_count": (100.0, {}),
    "minimality.normalised": (True, {}),
    "minimality.half_life": (2.0, {}),
    "reconstruction.form": ("separate", {}),
    "reconstruction.stochastic": (0.3, {}),
    "reconstruction.adversarial": (0.3, {}),
    "reconstruction.routing": ("all", {}),
    "reconstruction.sources": ("corners", {}),
    "reconstruction.divergence": ("mse", {}),
    "reconstruction.hidden": (0.1, {}),
    "adversary[persistent].scope": ("bsc", {}),
    "adversary[persistent].sources": (2, {}),
    "adversary[persistent].segments": (7, {}),
    "adversary[persistent].pool": (2, {}),
    "adversary[persistent].lifetime": (1.0, {}),
    **schedule("adversary[persistent].learning_rate", 0.04, 0.01),
    "adversary[persistent].beta1": (0.3, {}),
    "adversary[persistent].beta2": (0.9, {}),
    "adversary[persistent].extra_ascents": (1, SEPARATE),
    "adversary[persistent].fraction": (0.1, {}),
    "adversary[fresh].scope": ("bsc", {}),
    "adversary[fresh].sources": (2, {}),
    "adversary[fresh].segments": (7, {}),
    "adversary[fresh].fraction": (0.1, {}),
    "adversary[fresh].steps": (2, {}),
    "adversary[fresh].step_size": (0.1, {}),
    "faithfulness": (1e3, {}),
    "faithfulness_scale": ("relative", {}),
    "read_leak": (0.5, {}),
    "stray_reading": (0.5, {}),
    **schedule("learning_rate", 4e-4, 1e-4),
    **schedule("importance_learning_rate", 5e-4, 2e-4),
    "clip": (0.01, {}),
    "importance_clip": (0.01, {}),
    "autocast": (True, {}),
    "compile": (True, {}),
    "checkpoint_every": (2, {}),
    "machine.sharding": ("fsdp", {}),
    "machine.accumulation": (2, {}),
    "machine.activation_checkpointing": (True, {}),
}


def fields(model, prefix=""):
    """Dotted paths of all fields, into nested models.

    A dictionary of models is entered at its key `en`, a field of several kinds as `name[kind]`.
    """
    for name, field in model.model_fields.items():
        inner = [t for t in nested(field.annotation) if is_model(t)]
        if len(inner) > 1:
            for variant in inner:
                (kind,) = typing.get_args(variant.model_fields["kind"].annotation)
                own = fields(variant, f"{prefix}{name}[{kind}].")
                yield from (path for path in own if not path.endswith("].kind"))
        elif inner:
            mapping = typing.get_origin(field.annotation) is dict
            entered = f"{prefix}{name}.en." if mapping else f"{prefix}{name}."
            yield from fields(inner[0], entered)
        else:
            yield prefix + name


def nested(annotation):
    """The annotation and what it is made of; each of several kinds is `Annotated` with its tag."""
    args = typing.get_args(annotation)
    return [annotation, *(typing.get_args(t)[0] if hasattr(t, "__metadata__") else t for t in args)]


def is_model(annotation):
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def of_kind(path):
    """(plain path, what the base needs) for a path with a kind in it."""
    found = re.match(r"(\w+)\[(\w+)\]\.(.*)", path)
    if not found:
        return path, {}
    field, kind, rest = found.groups()
    return f"{field}.{rest}", {field: {"kind": kind, **copy.deepcopy(KINDS[field][kind])}}


def base(**changes):
    """A recipe in which no schedule is constant."""
    values = {
        "mixture": {"en": {"weight": 1.0}, "de": {"weight": 1.0}},
        "steps": 3,
        "rows": 4,
        "context": 7,
        "importance": dict(SIZES),
        "adversary": {"fraction": 0.6},
        "autocast": False,
        "compile": False,
    }
    values |= {k: changes.pop(k) for k in KINDS if k in changes}
    starts = {"minimality.sharpness": (1.0, 0.2)}
    starts |= {"learning_rate": (5e-4, 5e-5), "importance_learning_rate": (1e-3, 1e-4)}
    if values["adversary"].get("kind") != "fresh":
        starts["adversary.learning_rate"] = (0.05, 0.02)
    for path, (start, end) in starts.items():
        put(values, path, {"start": start, "end": end, "shape": "linear", "until": 0.9, "warmup": 0.0})
    for path, value in changes.items():
        put(values, path, value)
    return DecomposeConfig.checked(values, "the test's recipe")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("text")
    for domain, source, words in (
        ("en", "one", "the cat sat on the mat"),
        ("en", "two", "the dog sat on the log"),
        ("de", "drei", "das ist der Hut und das ist die Katze"),
    ):
        (root / domain).mkdir(exist_ok=True)
        lines = [f"{words}, {i} times over" for i in range(40)]
        (root / domain / f"{source}.train.txt").write_text("\n\n".join(lines), "utf8")
    return DirectoryCorpus(root)


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer()


@pytest.fixture
def outcome(corpus, tokenizer, tmp_path_factory, monkeypatch):
    """A function from a recipe to everything its run does: text, state, metrics, checkpoints, compiled kernels."""
    compiled, saved, recomputed = [], [], []
    save = module.save_checkpoint

    def recorded_save(run, state, config_hash):
        saved.append(state.step)
        return save(run, state, config_hash)

    def recorded_compile(function, **options):
        compiled.append(function.__name__)
        return function

    def run(config):
        compiled.clear()
        saved.clear()
        recomputed.clear()
        kernels.kernel.cache_clear()
        folder = tmp_path_factory.mktemp("run")
        model = target(vocab_size=VOCAB)
        rows = training_rows(config, Subject(model, tokenizer, corpus), folder, "hash")
        trainer = Trainer(model, new_decomposition(model, config, rows), rows, config)
        train(trainer, folder, "hash", log_every=1)
        run.folder = folder
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf8").splitlines()]
        return {
            "rows": rows.tolist(),
            "state": {k: tensor_hash(v) for k, v in state_of(trainer, 0).tensors.items()},
            "metrics": [{k: v for k, v in line.items() if k != "it/s"} for line in lines],
            "checkpoints": list(saved),
            "compiled": sorted(compiled),
            "recomputed": len(recomputed),
        }

    def recorded_block(block, *given, **settings):
        recomputed.append(block)
        return block(*given, **settings)

    monkeypatch.setattr(module, "save_checkpoint", recorded_save)
    monkeypatch.setattr(recompute, "again", recorded_block)
    monkeypatch.setattr(torch, "compile", recorded_compile)
    yield run
    kernels.kernel.cache_clear()


@pytest.fixture(scope="module")
def unchanged():
    """Recipe → (what its run does, its folder), of recipes that several fields are changes to."""
    return {}


def test_there_is_a_variation_for_every_field_and_no_other():
    assert sorted(VARIATIONS) == sorted(fields(DecomposeConfig))


def test_the_same_recipe_is_the_same_run(outcome):
    assert outcome(base()) == outcome(base())


@pytest.mark.parametrize("path", sorted(VARIATIONS))
def test_a_field_changes_the_run_or_is_refused(outcome, unchanged, path):
    value, needed = VARIATIONS[path]
    path, kind = of_kind(path)
    needed = kind | needed
    usual = base(**copy.deepcopy(needed))
    key = usual.model_dump_json()
    if key not in unchanged:
        unchanged[key] = outcome(usual), outcome.folder
    expected, folder = unchanged[key]
    if value == A_FINISHED_RUN:
        value = str(folder)
    try:
        other = base(**copy.deepcopy(needed), **{path: value})
    except RankOneError as error:
        assert path.split(".")[0] in str(error)  # noqa: PT017
        return
    assert other != usual
    try:
        found = outcome(other)
    except RankOneError as error:
        assert path in str(error)  # noqa: PT017
    else:
        assert found != expected


def test_every_kind_is_another_run(outcome):
    for field, kinds in KINDS.items():
        trained = [k for k in registered(field) if k != "magnitude"]  # made from text, never by a recipe
        assert sorted(kinds) == sorted(trained)
        runs = [outcome(base(**{field: {"kind": kind, **kinds[kind]}})) for kind in kinds]
        assert all(a != b for i, a in enumerate(runs) for b in runs[:i])


def registered(field):
    """The kinds that a field of the recipe may take."""
    variants = [t for t in nested(DecomposeConfig.model_fields[field].annotation) if is_model(t)]
    return [typing.get_args(v.model_fields["kind"].annotation)[0] for v in variants]


def test_the_kinds_of_old_recipes_and_artefacts_need_no_name():
    assert base() == base(
        importance={"kind": "shared_transformer", **SIZES}, adversary={"kind": "persistent", "fraction": 0.6}
    )


def test_checkpoints_are_written_as_often_as_asked(outcome):
    assert outcome(base(checkpoint_every=2))["checkpoints"] == [2, 3]


def test_compile_compiles_the_kernels(outcome):
    assert outcome(base())["compiled"] == []
    expected = ["_add_gradient", "_climb", "_gated", "_gated_backward", "_penalty", "kl_per_position"]
    assert outcome(base(compile=True))["compiled"] == expected


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("steps", 0),
        ("rows", 0),
        ("context", 1),
        ("adversary.scope", "b"),
        ("adversary.sources", 0),
        ("adversary.pool", 0),
        ("adversary.kind", "wise"),
        ("adversary.steps", 3),
        ("importance.kind", "mpl"),
        ("importance", 5),
        ("minimality.half_life", 0.0),
        ("reconstruction.hidden", -1.0),
        ("adversary.fraction", 1.1),
        ("adversary.beta1", 1.0),
        ("minimality.kind", "l1"),
        ("minimality.sharpness.end", 0.0),
        ("importance.heads", 3),
        ("clip", 0.0),
        ("checkpoint_every", 0),
        ("no_such_field", 1),
        ("adversary.no_such_field", 1),
    ],
)
def test_a_bad_value_is_refused_by_name(path, value):
    with pytest.raises(RankOneError) as error:
        base(**{path: value})
    assert path.split(".")[0] in str(error.value)


def test_sources_along_the_batch_are_refused_for_a_scope_without_it():
    with pytest.raises(RankOneError, match="scope 'c' has one source"):
        base(**{"adversary.scope": "c", "adversary.sources": 2})


@pytest.mark.parametrize("field", list(KINDS))
@pytest.mark.parametrize("value", [5, "fresh", None, ["mlp"]])
def test_a_kind_alone_is_no_configuration(field, value):
    values = base().model_dump() | {field: value}
    with pytest.raises(RankOneError, match=rf"the test: {field}"):
        DecomposeConfig.checked(values, "the test")


def test_a_normalisation_that_would_change_nothing_is_refused():
    with pytest.raises(RankOneError, match=r"minimality: .*`normalised` is for smooth_l0"):
        base(**{"minimality.kind": "lp", "minimality.normalised": True})


def test_nothing_to_hold_the_output_is_refused():
    with pytest.raises(RankOneError, match="nothing would hold the output"):
        base(**{"reconstruction.stochastic": 0.0, "reconstruction.adversarial": 0.0})


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValidationError):
        base().steps = 5
