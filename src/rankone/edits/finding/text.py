"""The text that `find` reads: passages from everywhere in a split, and English about the country of a language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from rankone.core.errors import RankOneError
from rankone.edits.finding.request import FindConfig
from rankone.runtime.progress import log
from rankone.text.about import about_domain, about_passages
from rankone.text.blocks import Blocks, passage_blocks
from rankone.text.corpus import require_domain
from rankone.text.passages import domain_passages, shortages
from rankone.workspace import Workspace

# More passages than are needed are drawn from, so that all sources of a corpus have a part.
DRAWN_FROM = 10
ROW = 128
# Of each passage only so many characters are read: many passages say more than one long one.
PASSAGE_CHARS = 400
# Tokens of further training text.
FURTHER = 1000


@dataclass(frozen=True)
class FindText:
    """Rows per domain: the target, those to spare, and English about the target's country under its own name.

    further: training text beyond `training`, where it is asked for: closed forms look too good on the text they come from.
    """

    target: str
    spared: tuple[str, ...]
    about: str | None
    training: Mapping[str, Blocks]
    validation: Mapping[str, Blocks]
    further: Mapping[str, Blocks] = field(default_factory=dict)

    @property
    def others(self) -> tuple[str, ...]:
        """All text but the target's."""
        return self.spared if self.about is None else (*self.spared, self.about)


def read_text(workspace: Workspace, request: FindConfig) -> FindText:
    """Training rows for moments and validation rows for the scan; RankOneError where domains overlap or lack text."""
    domains = workspace.corpus.domains()
    spared = request.against or tuple(d for d in domains if d != request.of)
    if request.of in spared or not spared:
        raise RankOneError(f"name domains to spare beside '{request.of}'; the text has {', '.join(domains)}.")
    wanted = (request.of, *spared)
    for domain in wanted:
        require_domain(workspace.corpus, domain)
    known = request.about and bool(about_passages(request.of, "train"))
    rows: dict[str, dict[str, Blocks]] = {}
    for split, tokens in (("train", request.tokens), ("validation", request.rank_tokens)):
        rows[split] = {d: spread_blocks(workspace, d, split, tokens, request.seed) for d in wanted}
        if known:
            rows[split][about_domain(request.of)] = about_blocks(workspace, request.of, split, tokens)
        for domain, count in shortages({d: rows[split][d] for d in wanted}, tokens).items():
            log.info(
                f"the {split} text of '{domain}': {count:,} tokens of {tokens:,} wanted, all that "
                f"{PASSAGE_CHARS} characters of each passage give"
            )
    about = about_domain(request.of) if known else None
    further = _further(workspace, request, wanted, about) if request.several > 1 else {}
    return FindText(request.of, tuple(spared), about, rows["train"], rows["validation"], further)


def _further(
    workspace: Workspace, request: FindConfig, domains: Sequence[str], about: str | None
) -> dict[str, Blocks]:
    """FURTHER tokens of training text that moments were not taken of; of text that has no more, the last of what it has."""
    made = {}
    for domain in domains:
        whole = spread_blocks(workspace, domain, "train", request.tokens + FURTHER, request.seed)
        made[domain] = _last_rows(whole)
    if about is not None:
        made[about] = _last_rows(about_blocks(workspace, request.of, "train", request.tokens))
    return made


def _last_rows(blocks: Blocks) -> Blocks:
    """The last rows of some text, of FURTHER tokens or a little more."""
    behind = blocks.valid.sum(1).flip(0).cumsum(0).flip(0)
    first = max(int((behind >= FURTHER).sum()) - 1, 0)
    return blocks.rows(first, len(blocks.ids))


def spread_blocks(workspace: Workspace, domain: str, split: str, tokens: int, seed: int = 0) -> Blocks:
    """`tokens` tokens of a split, or all it has, from passages in shuffled order, in rows of at most ROW."""
    passages = domain_passages(workspace.corpus, domain, split, tokens * DRAWN_FROM)
    order = torch.randperm(len(passages), generator=torch.Generator().manual_seed(seed)).tolist()
    chosen = [_opening(passages[i]) for i in order[: 8 + tokens // 16]]
    return _rows(workspace, chosen, f"the {split} text of '{domain}'").take(tokens).to(workspace.device)


def _opening(passage: str) -> str:
    """The first words of a passage; its first characters where blanks are too rare to part words."""
    if len(passage) <= PASSAGE_CHARS:
        return passage
    first = passage[:PASSAGE_CHARS]
    words = first.rpartition(" ")[0]
    return words if len(words) >= PASSAGE_CHARS // 2 else first


def about_blocks(workspace: Workspace, language: str, split: str, tokens: int) -> Blocks:
    """The first `tokens` tokens of a split of English about the country of a language, or all there are."""
    passages = about_passages(language, split)
    return _rows(workspace, passages, f"English about '{language}'").take(tokens).to(workspace.device)


def _rows(workspace: Workspace, passages: Sequence[str], what: str) -> Blocks:
    length = min(ROW, workspace.context)
    return passage_blocks(workspace.tokenizer, passages, length, what=what, opener=workspace.opener)
