"""Tasks of lm-eval on a model and on the edited model: the same questions, the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.errors import RankOneError, first_line, nearest
from rankone.core.optional import optional
from rankone.edits.lowrank import LowRankEdit
from rankone.integrations.requests import LmEvalRequest, TaskFigure

_WHAT_FOR = "tasks of lm-eval"


def evaluate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, edit: LowRankEdit, request: LmEvalRequest
) -> tuple[TaskFigure, ...]:
    """Every number that lm-eval gives for the tasks, before and after; the model is put back bit for bit.

    RankOneError for an unknown task, and for whatever lm-eval makes of one that it cannot run. No global seed is set.
    """
    harness = optional("lm_eval", "eval", _WHAT_FOR)
    tasks = optional("lm_eval.tasks", "eval", _WHAT_FOR)
    models = optional("lm_eval.models.huggingface", "eval", _WHAT_FOR)
    include = None if request.include is None else str(request.include)
    manager = tasks.TaskManager(include_path=include)
    _require_tasks(request.tasks, list(manager.all_tasks))
    wrapped = models.HFLM(pretrained=model, tokenizer=tokenizer, batch_size=request.batch)

    def measured() -> Mapping[str, Mapping[str, Any]]:
        try:
            answered = harness.simple_evaluate(
                wrapped,
                tasks=list(request.tasks),
                task_manager=manager,
                limit=request.limit,
                num_fewshot=request.fewshot,
                log_samples=False,
                random_seed=None,
                numpy_random_seed=None,
                torch_random_seed=None,
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            said = first_line(error)[:200]
            raise RankOneError(
                f"lm-eval could not run {', '.join(request.tasks)} ({said}). Its tasks fetch their data from the Hub; give "
                "--include for your own tasks."
            ) from error
        return answered["results"]

    base = measured()
    with edit.applied(model):
        return tuple(_figures(base, measured()))


def version() -> str:
    """That of the installed lm-eval."""
    return metadata.version("lm_eval")


def _require_tasks(names: tuple[str, ...], known: list[str]) -> None:
    missing = [name for name in names if name not in known]
    if missing:
        raise RankOneError(
            f"lm-eval has no task '{missing[0]}'.{nearest(missing[0], known)} Give --include for yours."
        )


def _figures(
    base: Mapping[str, Mapping[str, Any]], edited: Mapping[str, Mapping[str, Any]]
) -> list[TaskFigure]:
    """Numbers by task and metric; lm-eval names them `acc,none`, their errors `acc_stderr,none`."""
    return [
        TaskFigure(
            task=task,
            metric=key.removesuffix(",none"),
            base=float(value),
            base_error=_error(values, key),
            edited=float(edited[task][key]),
            edited_error=_error(edited[task], key),
        )
        for task, values in base.items()
        for key, value in values.items()
        if "," in key and "_stderr" not in key and isinstance(value, int | float)
    ]


def _error(values: Mapping[str, Any], key: str) -> float | None:
    name, _, kind = key.partition(",")
    error = values.get(f"{name}_stderr,{kind}")
    return float(error) if isinstance(error, int | float) else None
