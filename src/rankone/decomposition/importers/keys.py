"""Keys of published checkpoints: today's name for every older one, and the check that all are there as they should be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from rankone.core.errors import RankOneError

Shape = tuple[int, ...]
# So many names of each kind of fault are listed; the rest is counted.
LISTED = 8


def modern_key(key: str) -> str:
    """Today's name of a key of any age; a key that is not an old one stays.

    Renames in the order they happened upstream: `_orig_mod.` (torch.compile) goes, `patched_model.` is `target_model.`,
    `_gates.` is `_ci_fns.`, which moved under `ci_fn.`; a site's `original.weight` is its `weight`, and its
    `components.V` and `.U` moved to `_components.` under the site's path with dashes for dots.
    """
    key = key.replace("_orig_mod.", "")
    if key.startswith("patched_model."):
        key = "target_model." + key.removeprefix("patched_model.")
    if key.startswith("_gates."):
        key = "_ci_fns." + key.removeprefix("_gates.")
    if key.startswith("_ci_fns."):
        key = "ci_fn." + key
    if key.endswith(".original.weight"):
        key = key.removesuffix("original.weight") + "weight"
    for factor in ("V", "U"):
        if key.endswith(f".components.{factor}"):
            site = key.removeprefix("target_model.").removesuffix(f".components.{factor}")
            key = f"_components.{site.replace('.', '-')}.{factor}"
    return key


def renamed(tensors: Mapping[str, Tensor], where: Path) -> dict[str, Tensor]:
    """The tensors under today's keys; two old keys for one new are an error."""
    modern: dict[str, Tensor] = {}
    for key, value in tensors.items():
        new = modern_key(key)
        if new in modern:
            raise RankOneError(
                f"'{where}' has the key '{new}' twice, once under an older name ('{key}'). Keep one of them."
            )
        modern[new] = value
    return modern


def check_tensors(
    tensors: Mapping[str, Tensor],
    expected: Mapping[str, Shape],
    where: Path,
    optional: Collection[str] = (),
) -> None:
    """Every expected key with its shape and finite values, and nothing else; `optional` keys may be missing.

    Raises one RankOneError that names what is missing, what is too much and what has another shape.
    """
    faults = [
        *_fault(
            "missing",
            [f"{k} {list(s)}" for k, s in expected.items() if k not in tensors and k not in optional],
        ),
        *_fault("not expected", [f"{k} {list(t.shape)}" for k, t in tensors.items() if k not in expected]),
        *_fault(
            "of another shape",
            [
                f"{k} is {list(tensors[k].shape)}, expected {list(s)}"
                for k, s in expected.items()
                if k in tensors and tuple(tensors[k].shape) != s
            ],
        ),
    ]
    if not faults:
        faults = _fault("not finite", [k for k, t in tensors.items() if not t.isfinite().all()])
    if faults:
        raise RankOneError(
            f"'{where}' is not what its configuration says: {'; '.join(faults)}. "
            "Check that checkpoint and configuration are of the same run, and the download complete."
        )


def _fault(kind: str, names: list[str]) -> list[str]:
    if not names:
        return []
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return [f"{len(names)} {kind}: {', '.join(names[:LISTED])}{rest}"]
