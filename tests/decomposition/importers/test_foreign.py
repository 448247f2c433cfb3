"""Foreign checkpoint files: tensors are read, code is not run."""

from __future__ import annotations

import pytest
import torch

from rankone.core.errors import RankOneError
from rankone.decomposition.importers.foreign import read_foreign


class Hostile:
    """Unpickled with code allowed, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_torch(tmp_path, zipped):
    state = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    torch.save(state, tmp_path / "m.pth", _use_new_zipfile_serialization=zipped)
    read = read_foreign(tmp_path / "m.pth")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[k], v) for k, v in state.items())


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(tmp_path, zipped):
    target = tmp_path / "written"
    state = {"a": torch.ones(1), "b": Hostile(target)}
    torch.save(state, tmp_path / "m.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(RankOneError, match=r"cannot read '.*m\.pth' as a plain state dict"):
        read_foreign(tmp_path / "m.pth")
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "holds a list, not a state dict"),
        ({}, "holds a dict, not a state dict"),
        ({"model": {"a": torch.ones(1)}}, "holds a dict under 'model'"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(RankOneError, match=message):
        read_foreign(tmp_path / "m.pt")


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_damaged_files_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(RankOneError, match=name):
        read_foreign(tmp_path / name)
