"""The pages of the site that lie outside docs/, and links that a site can follow: a hook of MkDocs.

README, SECURITY and the others become pages, every family of errors has one; a link to a file that is no page (code, a recipe) becomes its name in code font.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path, PurePosixPath

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from rankone.doctor.families import families
from rankone.doctor.pages import by_family
from rankone.doctor.pages import page as error_page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "RESEARCH_LOG.md": "research-log.md",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files, config):
    """Add the pages from the root of the repository, and one for every family of errors."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text("utf8")
        files.append(File.generated(config, page, content=relinked(text, PurePosixPath("."))))
    listed = by_family()
    for family in families():
        content = error_page(family, listed[family.code])
        files.append(File.generated(config, f"errors/{family.code}.md", content=content))
    return files


def on_page_markdown(markdown, page, **_):
    """Links of the pages in docs/; the codes of errors lead to their pages."""
    if page.file.src_path.startswith("errors/"):
        return markdown
    if page.file.src_path == "errors.md":
        markdown = re.sub(r"^\| `([a-z-]+)` \|", r"| [\1](errors/\1.md) |", markdown, flags=re.MULTILINE)
    return markdown if page.file.src_path in PAGES.values() else relinked(markdown, PurePosixPath("docs"))


def relinked(markdown: str, folder: PurePosixPath) -> str:
    """The text with links that lead to pages of the site; `folder` is where the text lies in the repository."""

    def link(match: re.Match[str]) -> str:
        picture, words, target, place = match.groups()
        if "://" in target:
            return match[0]
        path = _normal(folder / target)
        if path in PAGES:
            return f"{picture}[{words}]({PAGES[path]}{place or ''})"
        if path.startswith("docs/") and (ROOT / path).is_file():
            return f"{picture}[{words}]({path.removeprefix('docs/')}{place or ''})"
        # What is not there stays a link, so that the strict build names it.
        return f"{words} (`{path}`)" if (ROOT / path).exists() else match[0]

    return _LINK.sub(link, markdown)


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts = parts[:-1]
        else:
            parts.append(part)
    return "/".join(parts)
