"""The site of the documentation: it builds without a warning, its links lead somewhere, and it loads nothing from
elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LOADED = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}
"""Elements whose address a browser fetches by itself."""


class Page(HTMLParser):
    """What a page leads to, what it loads, and the places in it that can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.places: set[str] = {"", "__skip"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value for key, value in attrs if value}
        self.places |= {found[key] for key in ("id", "name") if key in found}
        if tag == "a" and "href" in found:
            self.links.add(found["href"])
        if tag in LOADED and LOADED[tag] in found:
            self.loaded.add(found[LOADED[tag]])


def read_site(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def dead_links(site: Path, pages: dict[Path, Page]) -> list[str]:
    """Every address within the site that leads to no file, or to no place in one."""
    dead = []
    for path, page in pages.items():
        for link in sorted(page.links | page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            start = site if parts.path.startswith("/") else path.parent
            target = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].places):
                dead.append(f"{path.relative_to(site)}: {link}")
    return dead


def foreign(pages: dict[Path, Page]) -> list[str]:
    """Every address of another host that a page loads by itself."""
    return [
        f"{path.name}: {link}" for path, page in pages.items() for link in sorted(page.loaded) if urlsplit(link).netloc
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = (tmp_path_factory.mktemp("docs") / "site").resolve()
    nowhere = "http://127.0.0.1:9"  # whatever the build would fetch, it cannot
    surroundings = {
        **os.environ,
        "NO_MKDOCS_2_WARNING": "1",
        "http_proxy": nowhere,
        "https_proxy": nowhere,
        "all_proxy": nowhere,
    }
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return read_site(site)


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) > 40
    assert dead_links(site, pages) == []


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page]) -> None:
    assert foreign(pages) == []


def test_every_page_says_that_it_is_no_medical_device(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert [path.name for path in pages if "not a medical device" not in path.read_text(encoding="utf-8")] == []


def test_the_api_has_the_public_functions_with_their_docstrings(site: Path) -> None:
    page = (site / "api/lentigo.evaluation.html").read_text(encoding="utf-8")
    assert {"lentigo.evaluation.evaluate_predictions", "lentigo.evaluation.compare_runs"} <= Page(page).places
    assert "Raises" in page


def test_every_package_with_public_names_has_a_page(site: Path) -> None:
    packages = [ROOT / "lentigo/__init__.py", *sorted((ROOT / "lentigo").glob("*/__init__.py"))]
    public = {
        ".".join(path.relative_to(ROOT).parent.parts)
        for path in packages
        if "__all__ = " in path.read_text(encoding="utf-8")
    }
    public.remove("lentigo.cli")  # commands, which describe themselves
    assert len(public) > 10
    assert sorted(name for name in public if not (site / f"api/{name}.html").is_file()) == []


def test_dead_and_foreign_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<h2 id="here">', encoding="utf-8")
    text = (
        '<a href="other.html#here"><a href="other.html#gone"><a href="gone.html"><img src="gone.png"><script'
        ' src="//cdn.example/x.js">'
    )
    (tmp_path / "index.html").write_text(text, encoding="utf-8")
    pages = read_site(tmp_path.resolve())
    assert dead_links(tmp_path.resolve(), pages) == [
        "index.html: gone.html",
        "index.html: gone.png",
        "index.html: other.html#gone",
    ]
    assert foreign(pages) == ["index.html: //cdn.example/x.js"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_same_pages_can_be_read_in_the_repository(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)|<(?:img|a)\s[^>]*?(?:src|href)=\"([^\"]+)\"", text)
    links = [urlsplit(one or other) for one, other in targets]
    gone = [
        link.path for link in links if link.path and not link.scheme and not (page.parent / unquote(link.path)).exists()
    ]
    assert gone == []
