"""Exceptions of other libraries: functions that raise one in a folder, each from its real origin, and what is said."""

from __future__ import annotations

import json
import resource

import duckdb
import numpy as np
import pyarrow.parquet as parquet
import torch
import zstandard
from huggingface_hub.errors import HfHubHTTPError
from safetensors import safe_open
from safetensors.torch import save_file
from tests.helpers import simple_mlp, tokenizer
from tokenizers import Tokenizer


def full_disk(folder):
    """A file may have 4,096 bytes at most: what a full disk looks like to its writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        save_file({"a": torch.ones(1 << 20)}, folder / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def full_disk_of_a_tokenizer(folder):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        tokenizer().backend_tokenizer.save(str(folder / "tokenizer.json"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def full_disk_of_numpy(folder):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        np.save(folder / "a.npy", np.ones(1 << 16))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def full_disk_of_python(_):
    with open("/dev/full", "wb") as stream:
        stream.write(b"x")


def lone_surrogate(_):
    "\ud83d a".encode()


def lone_surrogate_in_a_tokenizer(_):
    tokenizer()("a \udcff")


def invalid_bytes(_):
    b"a \xff".decode()


def id_past_the_embedding(_):
    simple_mlp()(torch.tensor([[999]]))


def no_such_file(_):
    open("/nowhere/at/all", encoding="utf8")  # noqa: SIM115


def a_folder_for_a_file(folder):
    open(folder, encoding="utf8")  # noqa: SIM115


def too_large(_):
    torch.empty(1 << 60)


def no_memory(_):
    raise MemoryError


def no_tensors(folder):
    (folder / "a.safetensors").write_bytes(b"\xff" * 64)
    safe_open(folder / "a.safetensors", "pt")


def no_parquet(folder):
    (folder / "a.parquet").write_bytes(b"PAR1 but nothing more")
    parquet.read_table(folder / "a.parquet")


def no_query(_):
    duckdb.sql("select x from nowhere")


def no_zstd(_):
    zstandard.ZstdDecompressor().decompress(b"(\xb5/\xfd no more")


def no_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{}", "utf8")
    Tokenizer.from_file(str(folder / "tokenizer.json"))


def too_deep(_):
    json.loads("[" * 200_000)


def refused_connection(_):
    raise ConnectionRefusedError(111, "Connection refused")


def no_answer(_):
    raise TimeoutError("timed out")


def no_hub(_):
    import httpx2

    raise HfHubHTTPError(
        "404 Client Error", response=httpx2.Response(404, request=httpx2.Request("GET", "http://x"))
    )


def no_gpu_memory(_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")


def dead_gpu(_):
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore\nlines")


KINDS = {
    full_disk: "room",
    full_disk_of_a_tokenizer: "File too large .os error 27.* has room",
    full_disk_of_numpy: "requested and .* written.* has room",
    full_disk_of_python: "room",
    lone_surrogate: "is not a character",
    lone_surrogate_in_a_tokenizer: "surrogate pair|not a character",
    invalid_bytes: "byte 0xff at 2.*Save it as UTF-8",
    id_past_the_embedding: "past the model's embedding",
    no_such_file: "No such file or directory at '/nowhere/at/all'",
    a_folder_for_a_file: "Is a directory at",
    too_large: "out of memory.*Take fewer",
    no_memory: "out of memory.*Take fewer",
    no_tensors: "safetensors",
    no_parquet: "pyarrow",
    no_query: "^duckdb refused what it was given .CatalogException|: duckdb refused",
    no_zstd: "zstd refused|zstandard refused",
    no_tokenizer: "a library gave up on what it was given: ",
    too_deep: "nests too deep",
    refused_connection: "a connection failed: .*Connection refused.*network",
    no_answer: "a connection failed: timed out",
    no_hub: "404.*network",
    no_gpu_memory: "out of memory: CUDA.*Take fewer",
    dead_gpu: "the device failed: CUDA error: an illegal memory access was encountered. .*--device cpu",
}
