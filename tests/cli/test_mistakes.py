"""A new user's mistakes, as they are typed: one line that names the thing and the mend, exit status 2, nothing made.

What needs no model to be seen is refused where no heavy library can be imported, so within a fraction of a second; all of
these are tried in one interpreter.
"""

from __future__ import annotations

import json
import re
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tests.fresh import run
from tests.helpers import llama
from tests.test_light import HEAVY
from tests.tiny import rankone

from rankone.core.artifact import new_artifact
from rankone.core.config import Config
from rankone.labels.label import STATISTICAL, Label
from rankone.labels.store import save_labels
from rankone.recipes import HERE, shipped
from rankone.verbs.table import VERBS
from rankone.verbs.verb import Verb

PART = "h.3.mlp.down_proj:270"
# A model folder, not opened before the part is looked at.
FOREIGN = "model"
# Without a model. `here` is a folder with something in it, `note.txt` a file, `empty` an empty folder; `edit` an artefact
# of which only the manifest is looked at, `adapter` a LoRA of PEFT; the rest is named after what is wrong with it.
AT_ONCE = {
    "edit h.3.mlp.down_proj:270=-16 --out ''": "an empty word stands after '--out'. Is a variable not set",
    "tune --scale h.3.mlp.down_proj:270+h.9.mlp.down_proj:1 --forget de": "no site matches 'h.9.mlp.down_proj'|unknown site",
    "project adapter --sources ,": "sources is given and empty",
    "generate ''": "an empty word stands after 'generate'",
    "measure mini --text builtin,": "has an empty name in it",
    "measure mini --text builtin,./nowhere": "'./nowhere' is not there",
    "collect --habit lits --out x": "unknown habit 'lits'.* Nearest: list",
    "collect --habit list=a --out x": "a habit of its own",
    "collect --habit list --prompts nowhere.txt --out x": "no file of prompts at 'nowhere.txt'",
    "rank --of DE": r"no text for 'DE'.* Nearest: de\.",
    # names of commands and options
    "rnak --of de": r"No such command 'rnak'. Did you mean 'rank'\? See `rankone -h`",
    "--verison": "No such option: --verison",
    "rank --off de": r"No such option: --off. Nearest: --of. See `rankone rank -h`",
    f"tune --scale {PART} --forget de --save new": "No such option: --save. Nearest: --out",
    f"edit {PART}=2 --save new": "No such option: --save. Nearest: --out",
    "measure mini --domain de": "No such option: --domain. Nearest: --domains",
    "generate Der Ausschuss hat": "unexpected extra argument.*A value with spaces goes in quotes",
    "sites": "Missing argument 'model'",
    "decompose mini": "Missing option '--recipe'",
    "tune --forget de": "Missing option '--scale'",
    f"tune --scale {PART}": "Missing option '--forget'",
    # models
    "rank mni --of de": "'mni' is neither a directory nor a built-in model .* Nearest: mini",
    "rank mini2 --of de": "Nearest: mini",
    "rank ./mini --of de": "no model directory at './mini'. Check the path. Nearest: mini",
    "sites gpt2": "'gpt2' is neither a directory .*the Hub cannot be reached. Check the name or the network",
    "sites EleutherAI/pythia-70m": "the Hub cannot be reached",
    "sites nowhere/at/all": "no model directory at 'nowhere/at/all'",
    "sites here": "'here' has no config.json: it is not a model directory",
    "sites note.txt": "no model directory at 'note.txt'",
    "generate Hallo --model mni": "Nearest: mini",
    "fetch smollm3 --out new": "no model 'smollm3' to fetch; there are smollm2, mini. Nearest: smollm2",
    # decompositions and other artefacts
    "evidence mini-decompositon": "no decomposition at 'mini-decompositon'.* Nearest: mini-decomposition",
    "evidence mini": "no decomposition at 'mini'",
    "harvest here --out new": "'here' has no manifest.json: it is not a RankOne artefact",
    "label nowhere --out new": "no artefact at 'nowhere'",
    f"show {PART}": "show needs a harvest: give --harvest DIR .made by `rankone harvest`",
    f"show {PART} --harvest nowhere": "no harvest at 'nowhere'",
    "search german": "search needs a harvest: give --harvest DIR",
    "search german --harvest here": "search needs labels: give --labels DIR .made by `rankone label`",
    f"investigate {PART}": "investigate needs a harvest",
    "picks": "picks needs a harvest",
    "side-effects nowhere": "no artefact at 'nowhere'",
    "side-effects edit --target german": "no prompt asks for 'german'; they ask for da, de, .* 'german' is de",
    "side-effects edit --target xx": "no prompt asks for 'xx'",
    "side-effects here": "'here' has no manifest.json",
    "generate Hallo --edit nowhere": "no artefact at 'nowhere'",
    "export nowhere --out new": "no artefact at 'nowhere'",
    "export here --out new --as adaptor": "unknown as 'adaptor'; choose 'checkpoint', 'adapter' or 'stock'",
    f"edit {PART}=2 --parts here": "'here' has no manifest.json",
    # text
    "measure mini --text nowhere": "'nowhere' is not a directory, and the Hub, .* cannot be reached",
    "measure mini --text ./nowhere": "--text './nowhere' is not there",
    "measure mini --text empty": "'empty' holds no text: expected <domain>/<file>",
    "rank --of german": "no text for 'german' in corpus 'builtin'; it has de, .* 'german' is de",
    "find --of xx": "no text for 'xx' in corpus 'builtin'; it has de, en",
    f"sharpen {PART} --of dee --out new": "no text for 'dee' .* Nearest: de",
    f"tune --scale {PART} --forget german": "'german' is de",
    f"tune --scale {PART} --forget de --retain enn": "no text for 'enn'",
    # recipes
    "demo --recipe nowhere.yaml": "no recipe at 'nowhere.yaml'",
    "decompose mini --recipe nowhere.yaml --text builtin --out new": "no recipe at 'nowhere.yaml'",
    "decompose mini --recipe note.txt --text builtin --out new": "recipe 'note.txt' holds no `key: value` pairs",
    "toys nowhere.yaml --out new": "no recipe at 'nowhere.yaml'",
    # values
    "rank": "nothing to rank by: give --of DOMAIN .as de., --token WORD or --label WORDS",
    "rank --of de --against de": "'de' is on both sides",
    f"tune --scale {PART} --forget de --retain de": "'de' is on both sides",
    "rank --of de --top abc": "--top.*valid integer",
    f"tune --scale {PART} --forget de --budget 0": r"budget: .*greater than 0 \(got 0\)",
    "generate Hallo --tokens -1": r"tokens: .*greater than 0 \(got -1\)",
    "generate Hallo --device gpu": "unknown device 'gpu'; give cpu, cuda, cuda:N or mps",
    "generate Hallo --dtype fp16": "unknown dtype 'fp16'; choose 'float32' or 'bfloat16'",
    f"edit {PART}": f"'{PART}' sets no scale: write PART=ALPHA, as {PART}=-16",
    f"edit {PART}=abc": f"'{PART}=abc': 'abc' is not a number. Write PART=ALPHA",
    f"edit {PART}=nan": "finite number",
    f"edit {PART}=2 {PART}=3": f"'{PART}' is given twice",
    # what is named to be opened and not used
    f"edit {PART}=-16 --harvest here": "--harvest 'here' changes nothing here: only label:WORDS is looked up in it, and",
    f"edit {PART}=-16 --labels here": "--labels 'here' changes nothing here: only label:WORDS is looked up in it, and none",
    f"edit {PART}=-16 --clusters here": "--clusters 'here' changes nothing here: only cNUMBER and label:WORDS are looked up",
    "edit c1=-16 --clusters here --labels here": "--labels 'here' changes nothing here: .*Leave it out",
    f"tune --scale {PART} --forget de --harvest here": "--harvest 'here' changes nothing here: only label:WORDS",
    f"tune --scale {PART} --forget de --clusters here": "--clusters 'here' changes nothing here: only cNUMBER",
    "rank --of de --by gradient --harvest here": "--harvest 'here' changes nothing here: a ranking by gradient is made from",
    "rank --token und --by unembedding --harvest here": "--harvest 'here' changes nothing here: a ranking by unembedding",
    "graph mini Hallo --harvest here": "--harvest 'here' changes nothing here: it tells whose --labels are, .* Give both",
    "graph export edit --page new --clusters here": "--clusters 'here' changes nothing here: it groups the nodes of",
    "graph export edit --neuronpedia new --harvest here": "--harvest 'here' changes nothing here: it is for --viewer and",
    # parts
    "edit h.3.mlp.down_proj=-16": "'h.3.mlp.down_proj' has no number: a part is SITE:NUMBER, as h.3.mlp",
    "edit :-1=2": "':-1' names no site: a part is SITE:NUMBER, as h.3.mlp.down_proj:270",
    "edit h.3.mlp.down_proj:-1=2": "ends in '-1', which is not a number from 0 up",
    "edit neuron/:3=2": "'neuron/:3' names no site: a part is SITE:NUMBER, as neuron/h.3",
    "edit 270=-16": "'270' has no number",
    "edit neuron/h.3.mlp.down_proj=-16": "a part is SITE:NUMBER, as neuron/h.3.mlp.down_proj:270",
    f"edit neurn/{PART}=-16": "no parts of origin 'neurn' .* Nearest: neuron",
    f"edit contrast-fr/{PART}=-16": "no parts of origin 'contrast-fr' .* open the artefact that holds them",
    f"edit {PART} = -16": "A number below zero follows its = at once, as PART=-16",
    "tune --scale c3 --forget de": "'c3' names a component: say of which clustering, with --clusters DIR",
    "sharpen c3 --of de --out new": "'c3' stands for several parts, and single ones are named here: write SITE:NUMBER",
    "sharpen label:german --of de --out new": "'label:german' stands for several parts",
    f"tune {FOREIGN} --scale {PART} --forget de": "'h.3.mlp.down_proj:270' is a part of a decomposition, and none is open",
    "find mini --of de --also 270": "'270' has no number",
    # what a verb is told
    f"tune --scale {PART} --forget self:xx": "no words are known to start text in 'xx'. Give --openings",
    f"tune --scale {PART} --forget de --openings Der": "openings are for the model's own text: ask for self:de",
    "find mini --of de --sources neurons": "unknown source 'neurons'; there are neuron, .* Nearest: neuron",
    "find mini --of de --tolerance abc": "'abc' is not a tolerance: write a number, or DOMAIN=NUMBER",
    "rank --by gradiant --of de": "unknown criterion 'gradiant'; there are .* Nearest: gradient",
    "rank --by contrast --of de": "a ranking by contrast needs --against",
    "rank --by specificity --of de --against en": "--against changes nothing in a ranking by specificity",
    "rank --label german": "rank by labels needs labels: give --labels DIR .made by `rankone label`",
    "import nowhere --out new": "no published run at 'nowhere'. Name a folder, a W&B run",
    "import nowhere/at --out new": "the Hub, where it would be a repository, cannot be reached",
    "import here --out new": "'here' holds neither a decomposition",
    "import here --target nowhere --out new": "'here' holds neither|no published run",
    "demo --model gpt5 --out new": "'gpt5' is neither a directory nor a built-in model",
    "demo --model smollm2 --text nowhere --out new": "'nowhere' is not a directory, and the Hub",
    "demo --text ./nowhere --out new": "--text './nowhere' is not there",
    "demo --harvest edit --out new": "rankone: demo: harvest and labels belong together: give both, or neither",
    "demo --recipe demo.yaml --labels edit --out new": "demo.yaml: harvest and labels belong together",
    "demo --model smollm2 --replace --out new": "demo with a model takes no harvest, labels or replace",
    # options that nothing makes use of as they are given
    f"tune --scale {PART} --forget de --train-cap 2": "--train-cap changes nothing without --train: give both, or leave",
    f"tune --scale {PART} --forget self:de --budget 8": "--budget changes nothing where the model writes the forget text",
    f"tune --scale {PART} --forget de --steps 9": "--steps changes nothing where there is one scale.* or give --train",
    f"tune --scale {PART} --forget de --retain-weight 2": "--retain-weight changes nothing where there is one scale",
    "find mini --of de --against en --tolerance fr=0.1": "the tolerance of 'fr' changes nothing: .* to spare .en.",
    "find mini --of de --tolerance de=0.1": "the tolerance of 'de' changes nothing: .* to spare .all but de.",
    f"rewrite {PART} --token und --weight 2": "--weight changes nothing without --train",
    f"rewrite {PART} --token und --seed 2": "--seed changes nothing without --train",
    f"rewrite {PART} --token und --train 8 --sizes 2": "--sizes are of the closed form",
    "project adapter --count 8": "--count is for --sources singular or random",
    "project adapter --sources neuron --count 8": "--count is for --sources singular or random",
    "rank --token und --tokens 50": "--tokens changes nothing in a ranking by unembedding",
    "rank --of de --by gradient --domains fr": "--domains changes nothing in a ranking by gradient",
    "cluster --greedy --gamma .5 --out new": "--gamma is of a draw, and --greedy draws nothing",
    f"show {PART} --tokens 50 --harvest edit": "--tokens changes nothing without --response",
    "label here --out new --judged 5": "--judged changes nothing without --score",
    "label here --out new --score --judged 5": "--judged is about a server's labels: give --base-url and --model",
    "label here --out new --concurrency 5": "--concurrency is about a server's labels",
    "doctor --tokens 50": "--tokens changes nothing without --target",
    "doctor --dry-run": "--dry-run changes nothing without --clean",
    "doctor --clean here --tokens 50": "--tokens is for a check-up, and --clean makes none",
    "survive edit --forget de --benign en --attacks int8 --seeds 5": "--seeds is for --attacks knob or relearn-lora or",
    "survive edit --forget de --benign en --attacks knob --lora-rate .1": "--lora-rate is for --attacks relearn-lora or",
    f"graph intervene here --drop {PART} --seed 3": "--seed changes nothing without --keep",
    "studio here --export new --port 8000": "--port is for serving, and --export serves nothing",
    "studio here --public-host example.org": "--public-host changes nothing without --allow-remote",
    # graphs
    "graph mini": "Missing argument 'prompt'",
    "graph mni Der": "Nearest: mini",
    "graph mini Der --nodes natral": "unknown nodes 'natral'; choose 'natural', 'optimised'",
    "graph mini Der --nodes named": "--nodes named needs the names: give --names PART,PART",
    f"graph mini Der --names {PART}": "--names are for --nodes named",
    "graph mini Der --nodes named --names 270": "'270' has no number",
    "graph mini Der --seeds 2": "--seeds compares fits, and --nodes natural fits nothing",
    "graph mini Der --penalty 2": "--penalty is for --nodes optimised or ci, not natural",
    "graph mini Der --nodes ci --per-site 3": "--per-site is for --nodes strongest, not ci",
    "graph mini Der --nodes optimised --threshold .2": "--threshold is for --nodes natural, not optimised",
    "graph mini Der --unverified --paraphrase Das": "--paraphrase is about a check, and --unverified leaves the checks",
    "graph mini Der --threshold 1": "threshold: .*less than 1",
    "graph verify nowhere": "no artefact at 'nowhere'",
    "graph verify here": "'here' has no manifest.json",
    "graph intervene here": "nothing to do: give --keep all, --drop PLACE or --scale PLACE=FACTOR",
    "graph intervene here --drop h.3.mlp.down_proj": "names no place in a graph: write PART, PART@POSITION or PART@all",
    f"graph intervene here --drop {PART} --keep all": "one at a time",
    f"graph intervene here --scale {PART}": "sets no scale",
    "graph export here": "nothing to write: give --viewer DIR, --neuronpedia FILE or --page FILE",
    "graph export here --page new --scan mini": "--scan and --features are for --neuronpedia",
    "graph export here --neuronpedia new --features http://x": "must begin with https://",
    # what is there already
    "graph mini Der --out here": "output 'here' already exists",
    "graph export nowhere --page note.txt": "output 'note.txt' already exists",
    f"edit {PART}=-16 --out here": "output 'here' already exists",
    f"tune --scale {PART} --forget de --out here": "output 'here' already exists",
    "harvest --out here": "output 'here' already exists",
    "demo --out here": "output 'here' already exists",
    "fetch smollm2 --out here": "output 'here' already exists",
    # two outputs at one place
    "graph export nowhere --page new --neuronpedia new": "--neuronpedia and --page write to one place, 'new' and 'new'",
    "graph export nowhere --page new/a.html --viewer ./new": "--viewer and --page write to one place",
    "graph export nowhere --page new --nodes 5 --node-threshold .5": "graph-export: --nodes counts, --node-threshold",
    # one thing in another's place
    "evidence adapter": "'adapter' is a LoRA adapter as PEFT writes it .* but an artefact of kind 'decomposition'",
    "generate Hallo --edit adapter": "'adapter' is a LoRA adapter as PEFT writes it .* kind 'edit' is needed here",
    f"edit {PART}=2 --decomposition edit": "'edit' is of kind 'edit', but 'decomposition' is needed here",
    f"edit {PART}=2 --model edit": "'edit' is an artefact of kind 'edit', but a model is needed here",
    "sites adapter": "'adapter' is a LoRA adapter .* but a model is needed here",
    "sites edit": "'edit' is an artefact of kind 'edit', but a model is needed here",
    "demo --model edit --out new": "'edit' is an artefact of kind 'edit', but a model is needed here",
    "generate Hallo --edit mini-decomposition": "of kind 'decomposition', but 'edit' is needed here",
    "label mini-decomposition --out new": "of kind 'decomposition', but 'harvest' is needed here",
    "compare mini mini-decomposition": "no decomposition at 'mini'",
    "compare mini-decomposition edit": "'edit' is of kind 'edit', but 'decomposition' is needed here",
    "project nowhere": "no folder at 'nowhere': a LoRA that PEFT saved, or a saved edit",
    "project note.txt": "'note.txt' is a file, but a folder is needed here: a LoRA that PEFT saved",
    "reproduce nowhere": "no folder at 'nowhere': what `rankone bench --out` made",
    "reproduce here": "'here' has no bench.json: it is not what `rankone bench --out` made",
    "merge-harvest nowhere --out new": "no folder at 'nowhere': a run directory that holds shards",
    "merge-harvest note.txt --out new": "'note.txt' is a file, but a folder is needed here",
    "lm-eval edit --tasks mine --include nowhere": "no folder at 'nowhere': tasks of yours",
    "doctor --clean nowhere": "no folder at 'nowhere' to look for leftovers in",
    "doctor --clean note.txt": "no folder at 'note.txt' to look for leftovers in",
    "push nowhere me/x --dry-run": "no artefact at 'nowhere'",
    "push edit noslash --dry-run": "'noslash' names no repository: write OWNER/NAME",
    "push me/x edit --dry-run": "'edit' names no repository: write OWNER/NAME",
    "generate Hallo --edit damaged": "'damaged/manifest.json' is damaged .* Restore the artefact",
    f"edit {PART}=2 --out note.txt/x": "'note.txt' is a file: nothing can be written below it",
    "bench job.yaml --out note.txt": "output 'note.txt' is a file, and a folder is made here",
    "demo --replace --out note.txt": "output 'note.txt' is a file, and a folder is made here",
    # text and recipes that cannot be read
    "measure mini --text emptytext": "'emptytext' holds no text: .*every other file of it is empty",
    "measure mini --text empty.txt": "'empty.txt' holds no text: .*every other file of it is empty",
    "rank --of de --text brokentext": "cannot read text from 'brokentext/de/a.train.txt': line 1: .* must be UTF-8",
    "decompose mini --recipe broken.yaml --text builtin --out new": "cannot read the recipe 'broken.yaml' .* in UTF-8",
    "decompose mini --recipe here --text builtin --out new": "cannot read the recipe 'here' .*Is a directory",
    "decompose mini --recipe key.yaml --text builtin --out new": "unknown key stepps .got 4.. Nearest: steps",
    "sites mini --recipe key.yaml": "key.yaml: steps is missing; unknown key stepps .got 4.. Nearest: steps",
    "decompose mini --recipe type.yaml --text builtin --out new": "type.yaml: steps: .* valid integer.* .got 'many'",
    "decompose mini --recipe bench.yaml --text builtin --out new": "bench.yaml: .* more: is this the file that was meant",
    "pretrain size.yaml --text builtin --out new": "size.yaml: unknown key vocab_sise .got 300.. Nearest: vocab_size",
    "pretrain pretrain.yaml --text builtin --preset middle --out new": "unknown preset 'middle'; the recipe has mini, midi",
    "toys kind.yaml --out new": "kind.yaml: unknown target.kind 'tsm'; choose 'tms', 'resid_mlp'",
    "bench method.yaml --out new": "methods.0: unknown method 'scaler'. Nearest: scalar",
    "bench bench.yaml --preset quik --out new": "has no preset 'quik'; it has published, .*quick, .*Nearest: quick",
    "bench bench.yaml --methods lora --out new": "unknown method 'lora'. Nearest: lora_r",
    "bench bench.yaml --text nowhere --out new": "'nowhere' is not a directory, and the Hub",
    "demo --recipe seeds.yaml --out new": "seeds.yaml: unknown key sedes .got 9.. Nearest: seeds",
    "demo --recipe model.yaml --out new": "'mni' is neither a directory nor a built-in model .* Nearest: mini",
    "demo --recipe language.yaml --out new": "language.yaml: trained lacks german",
    "demo --recipe rates.yaml --out new": "no file 'norates.json': make it with `rankone select-rates",
    "demo --model smollm2 --recipe demo.yaml --out new": "demo.yaml: unknown key decomposition",
    "select-rates --recipe method.yaml --out new": "methods.0: unknown method 'scaler'. Nearest: scalar",
    "toys twice.yaml --out new": "recipe 'twice.yaml' is not valid YAML: the key 'steps' stands there twice",
    "toys tab.yaml --out new": "recipe 'tab.yaml' is not valid YAML: .* cannot start any token",
    "toys list.yaml --out new": "recipe 'list.yaml' holds no `key: value` pairs",
    # signs, order, numbers that are none
    f"edit -16={PART}": "A number below zero follows its = at once, as PART=-16",
    "edit 270:h.3.mlp.down_proj=-16": "'270:h.3.mlp.down_proj' ends in 'h.3.mlp.down_proj', which is not a number",
    f"edit {PART}=inf": "must be a finite number .got 'inf'",
    f"edit {PART}=": "no number follows the =. Write PART=ALPHA",
    "edit ''": "an empty word stands after 'edit'",
    "rank --of ''": "an empty word stands after '--of'",
    f"tune --scale {PART} --forget de --retain ''": "an empty word stands after '--retain'",
    f"tune --scale {PART},{PART} --forget de": f"'{PART}' is given twice",
    f"edit {PART}=2 {PART}=2": f"'{PART}' is given twice",
    "rank --of de --against en,en": "against: 'en' is given twice",
    f"tune --scale {PART}=2 --forget de": "sets a scale, and none is set here: leave out '=2'",
    f"tune --scale {PART} --forget de --cap nan": "cap: .* finite number",
    f"tune --scale {PART} --forget de,fr": "no text for 'de,fr' in corpus 'builtin'",
    "rewrite neuron/h.3.mlp.down_proj --token x": "'neuron/h.3.mlp.down_proj' has no number",
    f"rewrite nuron/{PART} --token x": "no parts of origin 'nuron' .* Nearest: neuron",
    "find --of de --tolerance -1": "tolerance: other: .* greater than 0",
    f"investigate {PART} --harvest here --alphas nan": r"alphas.0: must be a finite number \(got 'nan'\)\n",
    "rank --of de,xx": "no text for 'xx' in corpus 'builtin'",
    f"edit {PART}=2 --tokens 5 --tokens 6": "--tokens is given twice, and one value is taken",
    "harvest --shard 3/2 --out new": "no shard 3/2: with 2 shards they are 0/2 to 1/2",
    "harvest --shard first --out new": "shard 'first' is not I/N, as 0/4",
    "find mini --of de --tolerance dee=0.1": "no text for 'dee' .* Nearest: de",
    "studio here --pages 3": "--pages is for --export",
    "export edit --as adapter --dtype bfloat16 --out new": "--dtype is for checkpoints",
    "demo --model mini --out new": "demo on the built-in model is demo alone: leave --model out, or give a --recipe",
    "generate Hallo --system x": "a system message is part of a chat",
    "collect --habit list --chat --out new": "this model's tokenizer has no chat template",
    "sites smollm2": "'smollm2' is not here yet: run `rankone fetch smollm2 --out runs/smollm2`",
    "harvest mini --out new": "'mini' is the model; its decomposition is mini-decomposition",
    "measure mini --text buitlin": "'buitlin' is not a directory, and the Hub.* Nearest: builtin",
    "measure mini --text nultext": "cannot read text from 'nultext/de/a.txt': it holds NUL bytes",
    "measure mini --text norecords": "cannot read text from 'norecords/de/a.jsonl': line 1: not JSON",
    "edit h.3.mlp.down_proj:270=-16 h.3.mlp.down_proj:0270=3": "ends in '0270': write h.3.mlp.down_proj:270",
    f"edit {PART}==2": "has one = too many: write PART=ALPHA",
    f"edit mini {PART}=-16": r"'mini' sets no scale: .*down_proj:270=-16\. The model is given as --model mini\.\n",
    f"edit {PART} {PART}=-16": r"write PART=ALPHA, as h.3.mlp.down_proj:270=-16\n",
    f"edit plain {PART}=-16": "'plain' sets no scale: .* The model is given as --model plain",
    f"edit edit {PART}=-16": r"'edit' sets no scale: write PART=ALPHA, as h.3.mlp.down_proj:270=-16\n",
    f"edit mini {PART}=-16 --model mini": r"'mini' sets no scale: write PART=ALPHA, as h.3.mlp.down_proj:270=-16\n",
    f"sharpen mini {PART} --of de --out new": "'mini' has no number: .* The model is given as --model mini",
    f"attributions mini {PART} --domains de": "'mini' has no number: .* The model is given as --model mini",
    "rewrite mini --token und": "'mini' has no number: .* The model is given as --model mini",
    "export smollm2 --out new": "no artefact at 'smollm2'.* The model is given as --model smollm2",
    "side-effects edit plain": "words too many. 'plain' names a model: a model is given as --model plain",
    f"generate {'x' * 5000} mini": "words too many. 'mini' names a model: .* Text with spaces goes in quotes",
    "generate Hallo mini --model mini": r"unexpected extra argument.* \(mini\)",
    "label here mini --out new": r"unexpected extra argument.* \(mini\)",
    "studio mini": "no workspace at 'mini'.* The model is given as --model mini",
    "rank --model=mini --of de": "after the command: rankone rank mini. See `rankone rank -h`",
    "measure --model 'my model'": "after the command: rankone measure 'my model'. See",
    "measure --model": "The model is named without it, after the command. See `rankone measure -h`",
    "rank --of Deutsch": "'Deutsch' is de",
    "rank --of ger": "'ger' is de",
    "rank --of de fr": "Where a list was meant, write commas and no spaces, as de,fr",
    "sites mini-decomposition": "is a decomposition, and a model is needed here: its model is mini",
    "measure MINI": "Nearest: mini",
    f"generate Hallo --edit {PART}=-16": f"A scale becomes an artefact by `rankone edit {PART}=-16 --out DIR`",
    f"edit {PART}=-16 --out /proc/x": "nothing can be written in '/proc'. Choose another folder",
    f"edit {PART}=-16 --of de": r"No such option: --of. See",
    "rank --of de --model mini": "No such option: --model. The model is named without it, after the command",
    "fetch HuggingFaceTB/SmolLM2-135M-Instruct --out new": "'HuggingFaceTB/SmolLM2-135M-Instruct' is smollm2",
    # verbs mixed up, words left out
    "graph mini Der Ausschuss": "unexpected extra argument.*A value with spaces goes in quotes. See `rankone graph -h`",
    "graph 'Der Ausschuss hat'": "Missing argument 'prompt'. See `rankone graph -h`",
    "graph mini ''": "an empty word stands after 'mini'",
    "graph intervne here --keep all": "No such option: --keep. See `rankone graph -h`",
    f"graph-intervene here --scale {PART}=abc": "'abc' is not a number",
    "graph-intervene here --continue -2 --keep all": r"continue: .* greater than or equal to 0 \(got -2\)",
    "graph-export here --viewer here": "output 'here' already exists",
    "qk mini": "Missing argument 'layer'",
    "qk 1 --prompt Der": "Missing argument 'layer'",
    "qk mini one --prompt Der": "'layer': .* valid integer",
    "qk mini 1 --domains german": "'german' is de",
    "qk mini 1 --prompt Der --distances 4": "--prompt shows one case, --distances what holds over text: give one",
    "qk mini 1 --prompt Der --domains de": "--prompt shows one case, --domains what holds over text: give one",
    "attributions 270": "'270' has no number",
    f"attributions {PART}=2": "sets a scale, and none is set here: leave out '=2'",
    "attributions c3 --domains de": "'c3' stands for several parts",
    f"attributions {PART} --domains de --tokens 0": r"tokens: .*greater than 0 \(got 0\)",
    "survive edit": "Missing option '--forget'",
    "survive edit --forget german --benign en": "no text for 'german' .*'german' is de",
    "survive edit --forget en --benign en": "'en' is what the edit removed: benign text is of another domain",
    "survive edit --forget de --benign en --attacks promt": "unknown attack 'promt'; .* Nearest: prompt",
    "survive edit --forget de --benign en --budgets 1,x": "budgets.1: .* valid integer",
    "survive edit --forget de --benign en --budgets 0": "an attack that trains needs 1 token at least",
    "survive mini-decomposition --forget de --benign en": "of kind 'decomposition', but 'edit' is needed here",
    "project mini": "no folder at 'mini': a LoRA that PEFT saved, or a saved edit",
    "project adapter --sources singlar": "unknown source 'singlar'; there are neuron, .* Nearest: singular",
    "project adapter --sources contrast": "'contrast' parts are made from text: make them with `rankone find`",
    "project adapter --sources ''": "an empty word stands after '--sources'",
    "project edit --keep 20 --whole": "Option '--whole' requires an argument. See `rankone project -h`",
    f"rewrite {PART}": "Missing option '--token'",
    f"rewrite {PART} --token ''": "an empty word stands after '--token'",
    f"rewrite {PART} --token und --sizes 1,a": "sizes.1: .* valid number",
    f"rewrite {PART} --token und --out here": "output 'here' already exists",
    "rewrite c3 --token und": "'c3' stands for several parts",
    "push edit": "Missing argument 'repo'",
    "push here me/x --dry-run": "'here' has no manifest.json: it is not a RankOne artefact",
    "push adapter me/x --dry-run": "'adapter' is a LoRA adapter .* but an artefact is needed here",
    "push edit me/x/y --dry-run": "'me/x/y' names no repository: write OWNER/NAME",
    "push edit https://huggingface.co/me/x --dry-run": "names no repository: write OWNER/NAME, as me/german-edit",
    "studio here --prot 80": "No such option: --prot. Nearest: .*--port",
    "studio --allow-remote": "requires an argument. See `rankone studio -h`",
    "studio --device gpu": "unknown device 'gpu'",
    "studio here --parts edit": "'edit' is of kind 'edit', but 'parts' is needed here",
    "rank --of de --by": "Option '--by' requires an argument. See `rankone rank -h`",
    f"edit {PART}:-16": "sets no scale: write PART=ALPHA",
    "edit label:german=0": "'label:german' stands for parts by their labels: say which, with --harvest DIR and --labels DIR",
    "tune --scale label:german --forget de": "'label:german' stands for parts by their labels",
    "doctor nowhere": "'nowhere' is neither a directory nor a built-in model",
    "doctor mini-decompositon": "nothing at 'mini-decompositon'. Check the path. Nearest: mini-decomposition",
    "merge-harvest here --out new": "'here' has no shard-.*: it is not a run directory that holds shards",
    "cluster-distance here edit": "'here' has no manifest.json",
    "compare mini-decomposition": "Missing argument 'other'",
    "lm-eval adapter --tasks mine": "'adapter' is a LoRA adapter .* kind 'edit' is needed here",
    "export edit --as adapter": "Missing option '--out'",
    f"show {PART} --harvest edit": "'edit' is of kind 'edit', but 'harvest' is needed here",
    # the studio
    "studio nowhere": "no workspace at 'nowhere'. Make the folder",
    "studio note.txt": "no workspace at 'note.txt'",
    "studio here --port 99999": "'--port': .* less than or equal to 65535",
    "studio here --model edit": "'edit' is an artefact of kind 'edit', but a model is needed here",
    "studio here --harvest edit": "'edit' is of kind 'edit', but 'harvest' is needed here",
    # what the headers of the built-in files tell
    "rank --of de --only neuron/h.9.mlp.down_proj:*": "no site matches .h.9.mlp.down_proj.",
    "rank --of de --only neuron/h.9.mlp.down_proj:3": "no site matches .h.9.mlp.down_proj.",
    "edit neuron/h.3.mlp.down_proj:*=2": "stands for many parts, and each is named here",
    "edit h.9.mlp.down_proj:270=-16": "unknown site .* Nearest: h.3.mlp.down_proj",
    "edit h.3.mlp.down_prj:270=-16": "Nearest: h.3.mlp.down_proj",
    "edit h.3.mlp.down_proj:99999=-16": "keeps 768 subcomponents. Nearest: h.3.mlp.down_proj:767",
    "edit neuron/h.9.mlp.down_proj:3=2": "no site matches 'h.9.mlp.down_proj'. Nearest: h.3.mlp.down_proj",
    "edit neuron/h.3.mlp.down_proj:99999=2": "has no coordinate 99999: it has 768, from 0 to 767",
    "edit channel/h.3.mlp.down_proj:3=2": "no channel parts, but neuron parts: write neuron/h.3.mlp.down_proj:3",
    "edit neuron/h.3.attn.o_proj:3=2": "no neuron parts, but channel parts: write channel/h.3.attn.o_proj:3",
    "edit singular/h.3.mlp.down_proj:5000=2": "has no singular part 5000: it has 192, from 0 to 191",
    "tune --scale h.3.mlp.down_prj:3 --forget de": "Nearest: h.3.mlp.down_proj",
    f"tune plain --scale neuron/{PART} --forget de": "no site matches '.*'. Nearest: model.layers.1.mlp.down_proj",
    "sharpen neuron/h.3.mlp.down_proj:99999 --of de --out new": "has no coordinate 99999",
    "attributions h.9.mlp.down_proj:0 --domains de": "unknown site in 'h.9.mlp.down_proj:0'",
    "rewrite neuron/h.3.mlp.down_proj:99999 --token und": "has no coordinate 99999",
    "graph mini Der --nodes named --names h.9.mlp.down_proj:0": "unknown site in 'h.9.mlp.down_proj:0'",
    "find mini --of de --sites nope.*": "no site matches 'nope.",
    "find mini --of de --sites h.9.*": "no site matches 'h.9.",
    "sites mini --pattern nope": "no site matches 'nope'",
    "qk mini 9 --prompt Der": "no attention in layer 9: the model has layers 0 to 3",
    "generate Hallo --chat": "this model's tokenizer has no chat template",
    "generate Hallo --device mps": "no device 'mps': mps is for Apple's processors. Give cpu",
}
# What a table of a named artefact tells: only what reads tables is loaded. `harvest` counts one subcomponent, `grouped` the
# components c0 and c1, which `clusters` has.
OPEN = "--harvest harvest --labels labels"
IN_TABLES = {
    "edit c99=0 --clusters clusters": r"no component 'c99' in 'clusters': it has c0 to c1\.",
    "tune --scale c2 --forget de --clusters clusters": r"no component 'c2' in 'clusters': it has c0 to c1\.",
    "edit german=0 --clusters clusters": "no component 'german'",
    f"edit label:klingon=0 {OPEN}": r"no label holds 'klingon' \(2 labels searched\)",
    f"edit label:germ=0 {OPEN}": "no label holds 'germ'",
    f"tune --scale label:klingon --forget de {OPEN}": "no label holds 'klingon'",
    "rank --label klingon --labels labels": "no label holds 'klingon'",
    f"show h.3.mlp.down_proj:271 {OPEN}": f"'h.3.mlp.down_proj:271' is not in the harvest 'harvest'. Nearest: {PART}",
    "show c1 --harvest harvest": "'c1' is not in the harvest 'harvest': it counts subcomponents",
    "show c7 --harvest grouped": "'c7' is not in the harvest 'grouped'. Nearest: c1, c0",
    "investigate h.3.mlp.down_proj:271 --harvest harvest": "is not in the harvest 'harvest'",
}
TABLES = ("numpy", "pyarrow")
# The model as a word where it is an option (those that take any number of words are above), and the other way round.
ALWAYS = ("sharpen", "attributions", "edit")
AT_ONCE |= {
    f"{name} mini a b c": f"'mini' names a model: a model is given as --model mini.*See `rankone {name} -h`"
    for name, verb in VERBS.items()
    if verb.names_model and name not in ALWAYS
} | {
    f"{name} --model mini": f"after the command: rankone {name} mini. See"
    for name, verb in VERBS.items()
    if verb.first == "model"
}
# Recipes as they ship, and with one slip: the file, and what stands in place of what.
SLIPS = {
    "bench.yaml": (shipped()["german"], "", ""),
    "pretrain.yaml": (shipped()["mini"], "", ""),
    "demo.yaml": (shipped()["demo"], "", ""),
    "key.yaml": (shipped()["decompose-mini"], r"^steps: .*", "stepps: 4"),
    "type.yaml": (shipped()["decompose-mini"], r"^steps: .*", "steps: many"),
    "size.yaml": (shipped()["mini"], r"^vocab_size: .*", "vocab_sise: 300"),
    "kind.yaml": (shipped()["toys/tms-5-2"], r"kind: tms", "kind: tsm"),
    "method.yaml": (shipped()["german"], r"\bscalar,", "scaler,"),
    "seeds.yaml": (shipped()["demo"], r"^seeds:", "sedes:"),
    "model.yaml": (shipped()["demo"], r"^model: mini", "model: mni"),
    "language.yaml": (shipped()["demo"], r"^forget: de", "forget: german"),
    "rates.yaml": (shipped()["demo"], r"^rates_from: .*", "rates_from: norates.json"),
}
CHILD = """
import contextlib, functools, io, json, os, shlex
os.environ["HF_HUB_OFFLINE"] = "1"
import typer.main
from rankone import cli
from rankone.cli import main
# One parser for all that is typed: it takes longer to make than most of it takes.
made, parsed = cli.commands, functools.cache(lambda studio: typer.main.get_command(made(["studio"] if studio else [])))
cli.commands = lambda named: parsed(list(named) == ["studio"])
answers = {}
for typed in json.loads(%r):
    sys.argv = ["rankone", *shlex.split(typed)]
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code
        except ImportError as error:
            err.write(f"needed {error.name}")
    answers[typed] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(answers))
"""


WITHOUT_TORCH = """
import atexit
sys.argv = %r
from rankone.cli import main
atexit.register(lambda: "torch" in sys.modules and print("imported"))
main()
"""


def slipped(recipe, old, new):
    """The text of a recipe with its slip."""
    text, times = re.subn(old, new, recipe.read_text("utf8"), count=1, flags=re.MULTILINE)
    assert times or not old
    return text


def write_wrong(folder):
    """Things of other kinds, damaged artefacts, text and recipes that cannot be read."""
    manifest = {"kind": "edit", "schema_version": 1, "files": {"config.json": "0" * 64}}
    files = {
        "edit/manifest.json": json.dumps(manifest),
        "edit/config.json": "{}",
        "damaged/manifest.json": json.dumps(manifest)[:40],
        "adapter/adapter_config.json": '{"peft_type": "LORA"}',
        "empty.txt": "",
        "emptytext/de/a.test.txt": "",
        "nultext/de/a.txt": "Das\0ist",
        "norecords/de/a.jsonl": '{"text": "Das\n',
        "job.yaml": "model: mini\n",
        "twice.yaml": "steps: 3\nsteps: 5\n",
        "tab.yaml": "steps:\t5\n\trows: 3\n",
        "list.yaml": "- a\n- b\n",
    }
    files |= {name: slipped(*slip) for name, slip in SLIPS.items()}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf8")
    for name in ("demo-rates.json", "demo-reference.json"):
        (folder / name).write_bytes((HERE / name).read_bytes())
    (folder / "broken.yaml").write_bytes(b"model: mini\nforget: d\xff\xfee\n")
    (folder / "brokentext" / "de").mkdir(parents=True)
    (folder / "brokentext" / "de" / "a.train.txt").write_bytes(b"\xff\xfe Das ist")


def write_tables(folder):
    """A harvest, one of components, their clustering and labels: of the first three the table that has the names."""
    tables = {
        ("harvest", "harvest", "parts"): {"part": [0], "name": [PART]},
        ("harvest", "grouped", "parts"): {"part": [0, 1], "name": ["c0", "c1"]},
        ("components", "clusters", "components"): {"component": ["c0", "c1"]},
    }
    for (kind, name, table), columns in tables.items():
        with new_artifact(folder / name, kind) as made:
            pq.write_table(pa.table(columns), made / f"{table}.parquet")
    labels = [
        Label(PART, "German text", 0.5, STATISTICAL, ""),
        Label("h.0.mlp.up_proj:1", "code", 0.5, STATISTICAL, ""),
    ]
    save_labels(folder / "labels", labels, "0" * 64, Config())


def typed_in(folder, rows, blocked):
    """What is answered to each row where some libraries cannot be imported; nothing is made."""
    made = sorted(p.name for p in folder.iterdir())
    done = run(CHILD % json.dumps(list(rows)), blocked, folder)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in folder.iterdir()) == made
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def tabled(tmp_path_factory):
    """What is answered to IN_TABLES."""
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder)
    return typed_in(folder, IN_TABLES, tuple(name for name in HEAVY if name not in TABLES))


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What is answered at once, and the folder all was typed in."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "here").mkdir()
    (folder / "here" / "file").write_text("x", "utf8")
    (folder / "empty").mkdir()
    llama().save_pretrained(folder / "plain")
    (folder / FOREIGN).mkdir()
    (folder / FOREIGN / "config.json").write_text("{}", "utf8")
    (folder / "note.txt").write_text("a note", "utf8")
    write_wrong(folder)
    return typed_in(folder, AT_ONCE, HEAVY)


def check(expected: str, code: int, out: str, err: str) -> None:
    assert (code, out) == (2, ""), err
    assert err.startswith("rankone: ")
    assert err.count("\n") == 1
    assert re.search(expected, err), err


@pytest.mark.parametrize("typed", AT_ONCE)
def test_refused_without_a_heavy_library(typed, answers):
    check(AT_ONCE[typed], *answers[typed])
    assert "unable to parse" not in answers[typed][2]


@pytest.mark.parametrize("typed", IN_TABLES)
def test_refused_by_a_table_without_pytorch(typed, tabled):
    check(IN_TABLES[typed], *tabled[typed])


@pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch is built for GPUs")
def test_a_gpu_is_refused_without_importing_pytorch(tmp_path):
    words = ["rankone", "generate", "Hallo", "--device", "cuda:7"]
    done = run(WITHOUT_TORCH % words, ("transformers", "numpy"), tmp_path)
    check(
        "no device 'cuda:7': the installed PyTorch .* is built without CUDA. Give cpu",
        2,
        done.stdout,
        done.stderr,
    )


def test_there_are_fifty_at_least():
    assert len(AT_ONCE) >= 50


def test_a_list_is_given_with_commas_or_spaces(monkeypatch):
    asked = []
    monkeypatch.setattr(Verb, "ask", lambda _, __, request: asked.append(request) or sys.exit(0))
    for typed in (f"edit {PART}=-16,c1=2", f"edit {PART}=-16 c1=2"):
        rankone(*typed.split())
    assert [one.scales for one in asked] == [{PART: -16.0, "c1": 2.0}] * 2


def test_every_verb_that_names_a_model_is_of_one_kind():
    placed = [name for name, verb in VERBS.items() if verb.first == "model"]
    named = [name for name, verb in VERBS.items() if verb.names_model]
    assert not set(placed) & set(named)
    assert (len(placed), len(named)) == (11, 20)
    assert {name for name, verb in VERBS.items() if "model" in verb.opens} <= {*placed, *named}
