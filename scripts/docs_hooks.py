"""mkdocs hooks: pages from outside docs/, and a page for each module of the API.

The Markdown files are written for GitHub, where `../results/README.md` is a file of the repository. In the site these
files are pages under `results/` and `benchmarks/`, so links to them lose the `../`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = (*(f"results/**/*.{kind}" for kind in ("md", "json", "svg", "csv")), "benchmarks/*.md", "CHANGELOG.md")
"""Files of the repository that are part of the site, as patterns from its root."""
LINK = re.compile(r"(\]\()((?:\.\./)+)(?=(?:results|benchmarks|docs)/|CHANGELOG\.md)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    for uri in nav_pages(config.nav):
        if uri.startswith("api/"):
            module = uri.removeprefix("api/").removesuffix(".md")
            files.append(File.generated(config, uri, content=f"# {module}\n\n::: {module}\n"))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the repository's files to where they are in the site."""
    depth = page.file.src_uri.count("/")
    up = "../" * depth
    markdown = LINK.sub(rf"\1{up}", markdown)
    return markdown.replace(f"]({up}docs/", f"]({up}")


def nav_pages(nav: Any) -> Iterator[str]:
    """Every page that the navigation names, as a path in the site's sources."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for value in nav.values():
            yield from nav_pages(value)
    else:
        for value in nav or ():
            yield from nav_pages(value)
