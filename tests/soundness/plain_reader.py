"""A process that cannot import RankOne and reads exports for many tests in turn: one start of transformers for all.

Started as `python -I plain_reader.py CONSUMER PATHS`, it answers one JSON line per line of its input. {"consume": FILE} runs
the exporter's own consumer on a file of instructions. {"plain": FOLDER, "adapter": FOLDER or null, "ids": …, "out": FILE}
writes logits: of a checkpoint, or of PEFT beside the base and merged into it, with nothing of the exporter's.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path


def consumer(path):
    spec = importlib.util.spec_from_file_location("consumer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def logits_by_plain_tools(asked):
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    ids = torch.tensor(asked["ids"])

    def logits(model):
        with torch.no_grad():
            return model.eval()(input_ids=ids, use_cache=False).logits.float().contiguous()

    model = AutoModelForCausalLM.from_pretrained(asked["plain"], dtype=torch.float32)
    if asked["adapter"] is None:
        save_file({"plain": logits(model)}, asked["out"])
        return
    from peft import PeftModel

    model = PeftModel.from_pretrained(model, asked["adapter"])
    beside = logits(model)
    save_file({"beside": beside, "merged": logits(model.merge_and_unload())}, asked["out"])


def main(script, paths):
    answers = sys.stdout
    sys.stdout = sys.stderr
    sys.path.extend(paths)
    module = consumer(script)
    sys.meta_path.insert(0, module._Blocked(["rankone"]))
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        asked, said = json.loads(line), None
        try:
            module.main(Path(asked["consume"])) if "consume" in asked else logits_by_plain_tools(asked)
        except Exception as error:
            lines = f"{type(error).__name__}: {error}".strip().splitlines()
            said = lines[-1]
        answers.write(json.dumps(said) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
