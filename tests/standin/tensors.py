"""A stand-in for a GPU: tensors that say they are on cuda:0, hold their values on the CPU, and refuse to meet CPU tensors.

`install` makes it the device of this process. What it finds is what a machine without a GPU hides: operations between two
devices, values read without being fetched, code that makes its tensors on the wrong one. It says nothing of kernels,
precision or speed. device.cpp has to be preloaded.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

from rankone.models import sites, soundness
from rankone.runtime import device

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
# Operations that go from one device to another by their nature.
CROSSING = {"aten::copy_", "aten::_to_copy", "aten::_local_scalar_dense"}
# Views of a sparse tensor, which has no storage of its own to share.
SPARSE = {"aten::values", "aten::crow_indices", "aten::col_indices"}
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


class TwoDevicesError(RuntimeError):
    """An operation on tensors of two devices."""


class OnGPU(Tensor):
    """A tensor whose values are `held` on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> OnGPU:
        layout = {}
        if values.layout is torch.strided:  # a sparse one has no strides, and is told by what it holds
            layout = {"strides": values.stride(), "storage_offset": values.storage_offset()}
        made = Tensor._make_wrapper_subclass(cls, values.shape, dtype=values.dtype, device=GPU, **layout)
        made.held = values
        return made

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *given: Any, **named: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copy: Tensor = OnGPU(self.held.detach().clone())
        parameter = isinstance(self, torch.nn.Parameter)
        memo[id(self)] = torch.nn.Parameter(copy, self.requires_grad) if parameter else copy
        return memo[id(self)]

    def __getitem__(self, key: Any) -> Tensor:
        return super().__getitem__(_as_tensors(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_as_tensors(key), value)

    @property
    def data(self) -> Tensor:
        return Tensor.data.__get__(self)  # pyright: ignore[reportAttributeAccessIssue]

    @data.setter
    def data(self, given: Tensor) -> None:
        Tensor.data.__set__(self, given)  # pyright: ignore[reportAttributeAccessIssue]
        self.held = given.held if isinstance(given, OnGPU) else given

    def new_tensor(self, data: Any, **named: Any) -> Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": GPU, **named})

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()

    def storage(self) -> Any:
        return self.held.storage()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        return _run(function, given, named or {})


def _as_tensors(key: Any) -> Any:
    """Lists in an index become tensors below Python, where no stand-in is known."""
    keys = key if isinstance(key, tuple) else (key,)
    return tuple(torch.tensor(k) if isinstance(k, list) else k for k in keys)


class _Factories(TorchDispatchMode):
    """Sees also what is made on the device from nothing."""

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        return _run(function, given, named or {})


def _refuse_two_devices(name: str, given: list[Any]) -> None:
    met = [t for t in given if isinstance(t, Tensor) and not isinstance(t, OnGPU) and t.ndim > 0]
    if name in INDEXING:
        met = [t for t in met if t.is_floating_point()]  # indices may lie on the CPU
    if met and name not in CROSSING:
        raise TwoDevicesError(f"{name} on cuda:0 meets a CPU tensor of shape {tuple(met[0].shape)}")


def _run(function: Any, given: Any, named: dict[str, Any]) -> Any:
    """An operation on the values; what comes out is on the device if what went in is, or if it was asked for."""
    name, flat = function._schema.name, pytree.tree_leaves((given, named))
    if name == "aten::_fused_sdp_choice":
        return 0  # attention of plain operations
    ours = [t for t in flat if isinstance(t, OnGPU)]
    asked = named.get("device")
    if asked is not None:
        named = {**named, "device": CPU if torch.device(asked).type == "cuda" else asked}
    if ours:
        _refuse_two_devices(name, flat)
    plain = pytree.tree_map(lambda t: t.held if isinstance(t, OnGPU) else t, (given, named))
    with torch._C.DisableTorchFunctionSubclass():
        out = function(*plain[0], **plain[1])
    if name == "aten::copy_":
        return given[0]
    if not (ours if asked is None else torch.device(asked).type == "cuda"):
        return out
    known = {id(t.held): t for t in ours}
    wrapped = pytree.tree_map(lambda t: known.get(id(t), OnGPU(t)) if isinstance(t, Tensor) else t, out)
    written = any(a.alias_info is not None and a.alias_info.is_write for a in function._schema.arguments)
    # Of what is written in place only a new shape is still unknown to the tensor that says where it is.
    alone = not ours or name in SPARSE or (written and torch.Tag.inplace_view not in function.tags)
    return wrapped if alone else return_and_correct_aliasing(function, given, named, wrapped)


class _Generator(torch.Generator):
    """A CPU generator that says where it was asked for."""

    def __new__(cls, device: Any = "cpu") -> _Generator:
        made = super().__new__(cls)
        made.asked = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        return GPU if self.asked.type == "cuda" else self.asked

    def manual_seed(self, seed: int) -> _Generator:
        super().manual_seed(seed)
        return self


def _then_moved(make: Any) -> Any:
    def made(*given: Any, device: Any = None, **named: Any) -> Tensor:
        own = make(*given, **named)
        return own if device is None else own.to(device)

    return made


def install() -> None:
    """Make cuda:0 a device of this process, from here to its end."""
    torch.Generator = _Generator  # pyright: ignore[reportAttributeAccessIssue]
    torch.tensor, torch.as_tensor = _then_moved(torch.tensor), _then_moved(torch.as_tensor)
    known = {"device_count": 1, "is_available": True, "is_bf16_supported": True, "_lazy_init": None}
    for name, value in (known | {"mem_get_info": (10**11, 10**11), "synchronize": None}).items():
        setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    device.no_gpu = lambda *_: ""  # the build that is installed has none, and says so
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    # A stand-in is of a class of its own, as quantised weights are.
    sites.is_plain = soundness.is_plain = Tensor.is_floating_point
    _Factories().__enter__()
