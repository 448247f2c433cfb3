"""What a version file says PyTorch was built for, and when that is enough to say that there is no GPU."""

from __future__ import annotations

import pytest
import torch

from rankone.runtime import build as module
from rankone.runtime.build import build, no_gpu, stated


def test_the_installed_one():
    said = build()
    assert (said["__version__"], said["cuda"]) == (torch.version.__version__, torch.version.cuda)


def test_names_with_and_without_types(tmp_path):
    (tmp_path / "version.py").write_text(
        "from x import Optional\n__version__ = '2'\ncuda: Optional[str] = None\nd = 1\n"
    )
    assert stated(tmp_path / "version.py") == {"__version__": "2", "cuda": None}
    assert stated(tmp_path / "none.py") == {}
    (tmp_path / "broken.py").write_text("def (")
    assert stated(tmp_path / "broken.py") == {}


@pytest.mark.parametrize(
    ("said", "hidden", "driver", "why"),
    [
        (
            {"__version__": "2.13.0+cpu", "cuda": None, "hip": None},
            None,
            True,
            "the installed PyTorch .2.13.0.cpu. is",
        ),
        ({"cuda": None, "hip": "6.2"}, None, False, ""),
        ({"cuda": "12.8"}, "", True, "CUDA_VISIBLE_DEVICES hides every GPU"),
        ({"cuda": "12.8"}, "0", True, ""),
        ({"cuda": "12.8"}, None, False, "NVIDIA's driver is not installed"),
        ({}, None, False, ""),
    ],
)
def test_when_there_is_certainly_none(said, hidden, driver, why, monkeypatch):
    monkeypatch.setattr(module, "_has_driver", lambda: driver)
    monkeypatch.setattr(module.sys, "platform", "linux")
    found = no_gpu(said, {} if hidden is None else {"CUDA_VISIBLE_DEVICES": hidden})
    assert found == "" if not why else found.startswith(why.split(" .")[0])
