"""A refusal names options in its reader's words: `--weight` on the command line, `weight=` in Python."""

from __future__ import annotations

import shlex

import pytest
from tests.tiny import rankone

import rankone as ro
from rankone.core.errors import RankOneError
from rankone.core.validation.in_python import worded_for_python
from rankone.doctor.families import family_of
from rankone.doctor.pages import messages
from rankone.opening import OpenOptions
from rankone.verbs.table import VERBS

PART = "h.3.mlp.down_proj:270"
# What is typed, the same in Python, and what either says.
CASES = [
    (
        f"rewrite {PART} --token und --weight 2",
        lambda s: s.rewrite(PART, token="und", weight=2),
        "--weight changes nothing without --train: give both",
        "weight= changes nothing without train=: give both",
    ),
    (
        f"rewrite {PART} --token und --train 8 --sizes 2",
        lambda s: s.rewrite(PART, token="und", train=8, sizes=[2]),
        "rewrite: --sizes are of the closed form, and --train finds",
        "rewrite: sizes= are of the closed form, and train= finds",
    ),
    (
        "graph mini Der --nodes named",
        lambda s: s.graph("Der", nodes="named"),
        "graph: --nodes named needs the names: give --names PART,PART,…",
        "graph: nodes='named' needs the names: give names='PART,PART,…'",
    ),
    (
        "graph mini Der --nodes ci --per-site 3",
        lambda s: s.graph("Der", nodes="ci", per_site=3),
        "--per-site is for --nodes strongest, not ci",
        "per_site= is for nodes='strongest', not ci",
    ),
    (
        "graph mini Der --unverified --paraphrase Das",
        lambda s: s.graph("Der", unverified=True, paraphrase="Das"),
        "--paraphrase is about a check, and --unverified leaves the checks out",
        "paraphrase= is about a check, and unverified=True leaves the checks out",
    ),
    (
        "rank",
        lambda s: s.rank(),
        "give --of DOMAIN (as de), --token WORD or --label WORDS",
        "give of=DOMAIN (as de), token=WORD or label=WORDS",
    ),
    (
        "rank --of de --against en --by specificity",
        lambda s: s.rank(of="de", against="en", by="specificity"),
        "--against changes nothing in a ranking by specificity: leave it out, or name another --by.",
        "against= changes nothing in a ranking by specificity: leave it out, or name another by=.",
    ),
    (
        f"show {PART}",
        lambda s: s.show(PART),
        "show needs a harvest: give --harvest DIR (made by `rankone harvest`).",
        "show needs a harvest: give harvest=DIR (made by `rankone harvest`). harvest= is given to rankone.open.",
    ),
    (
        "edit label:german=0",
        lambda s: s.edit("label:german=0"),
        "say which, with --harvest DIR and --labels DIR (made by `rankone harvest` and `rankone label`).",
        "say which, with harvest=DIR and labels=DIR (made by `rankone harvest` and `rankone label`). "
        "harvest= and labels= are given to rankone.open.",
    ),
    (
        "edit c3=0",
        lambda s: s.scale("c3=0"),
        "say of which clustering, with --clusters DIR.",
        "say of which clustering, with clusters=DIR. clusters= is given to rankone.open.",
    ),
    (
        f"tune --scale {PART} --forget de --steps 9",
        lambda s: s.fit(PART, forget="de", steps=9),
        "--steps changes nothing where there is one scale: its size alone is looked for. Leave it out, or give --train,",
        "steps= changes nothing where there is one scale: its size alone is looked for. Leave it out, or give train=,",
    ),
    (
        f"generate Hallo --edit {PART}=-16",
        lambda s: s.generate("Hallo", edit=f"{PART}=-16"),
        f"A scale becomes an artefact by `rankone edit {PART}=-16 --out DIR`",
        f"A scale becomes an artefact by `rankone edit {PART}=-16 --out DIR`",
    ),
    (
        "measure mini --text builtin,",
        lambda s: ro.open("mini", text="builtin,"),
        "--text 'builtin,' has an empty name in it.",
        "text='builtin,' has an empty name in it.",
    ),
    (
        f"edit {PART}=2 --decomposition mini",
        lambda s: ro.open("mini", decomposition="mini"),
        "'mini' is the model; its decomposition is mini-decomposition.",
        "'mini' is the model; its decomposition is mini-decomposition.",
    ),
]


@pytest.mark.parametrize(("typed", "call", "on_command_line", "in_python"), CASES)
def test_either_reader_is_told_in_its_words(typed, call, on_command_line, in_python):
    outcome = rankone(*shlex.split(typed))
    assert outcome.code == 2
    assert on_command_line in outcome.err
    with pytest.raises(RankOneError) as error:
        call(ro.open("mini"))
    assert in_python in str(error.value)


def test_a_message_in_the_words_of_python_is_of_the_same_family():
    fields = {name: field for verb in VERBS.values() for name, field in verb.request.model_fields.items()}
    turned = 0
    for message in messages():
        for own in ({}, fields):
            with pytest.raises(RankOneError) as error, worded_for_python(own, OpenOptions.model_fields):
                raise RankOneError(message.text)
            said = str(error.value)
            turned += said != message.text
            assert family_of(said) == family_of(message.text), said
    assert turned > 80
