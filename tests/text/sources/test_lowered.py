"""Text in lower case, beside the text as it is printed."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.opening import Opening, OpenOptions
from rankone.text.chats import Chat, Turn
from rankone.text.corpus import described
from rankone.text.domains import written_in
from rankone.text.opening import open_corpus
from rankone.text.sources.lowered import LoweredCorpus


def test_every_passage_stands_in_the_same_split_without_its_capitals():
    both, printed = open_corpus("builtin,lower:builtin"), open_corpus("builtin")
    assert both.domains() == [*printed.domains(), *(f"{d}-lower" for d in printed.domains())]
    for split in ("train", "validation", "test"):
        lowered, passages = both.documents("de-lower", split), printed.documents("de", split)
        assert lowered == [passage.lower() for passage in passages]
        assert not set(lowered) & set(passages)
    assert both.documents("en-lower", "test", limit_chars=300) == [
        passage.lower() for passage in printed.documents("en", "test", limit_chars=300)
    ]
    assert [written_in(domain) for domain in ("de-lower", "de", "code")] == ["de", "de", "code"]


def test_it_has_a_name_and_a_fingerprint_of_its_own(tmp_path):
    (tmp_path / "texts" / "poems").mkdir(parents=True)
    for source in ("old", "new"):
        (tmp_path / "texts" / "poems" / f"{source}.txt").write_text("An Old Poem.")
    printed, lowered = (open_corpus(f"{before}{tmp_path / 'texts'}") for before in ("", "lower:"))
    assert (
        printed.fingerprint() != lowered.fingerprint() == open_corpus(f"lower:{tmp_path}/texts").fingerprint()
    )
    assert described(lowered)["name"] == "lower:texts"
    assert described(lowered)["sources"] == {"poems-lower": ["new", "old"]}


def test_a_conversation_stays_one():
    class Chats:
        name = "chats"

        def domains(self):
            return ["talk"]

        def documents(self, domain, split, limit_chars=None):
            return [Chat([Turn("user", "Who?"), Turn("assistant", "Anna")])]

        def fingerprint(self):
            return "f"

    (chat,) = LoweredCorpus(Chats()).documents("talk-lower", "train")
    assert isinstance(chat, Chat)
    assert chat.turns == (Turn("user", "who?"), Turn("assistant", "anna"))
    assert LoweredCorpus(Chats()).sources("talk-lower") == []


def test_what_is_not_there_is_said():
    with pytest.raises(RankOneError, match=r"no text for 'de' in corpus 'lower:builtin'.*Nearest: de-lower"):
        open_corpus("lower:builtin").documents("de", "test")
    with pytest.raises(RankOneError, match=r"'\./nowhere' is not there"):
        open_corpus("lower:./nowhere")
    with pytest.raises(RankOneError, match="'builtin,' has an empty name in it"):
        open_corpus("builtin,")
    with pytest.raises(RankOneError, match="'' has an empty name"):
        open_corpus("lower:")
    assert Opening(OpenOptions(text="lower:builtin")).text_is_here
    assert not Opening(OpenOptions(text="builtin,lower:someone/texts")).text_is_here
