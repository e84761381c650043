#!/usr/bin/env python3
"""Builds the site of docs/SUMMARY.md with mdBook, and checks it. Usage: site.py MDBOOK FOLDER

Pages keep their places in the repository, so that their links hold in both. What a page links to comes along; pages that
SUMMARY.md does not list are under "More" at its end.
"""

import html.parser
import pathlib
import posixpath
import re
import shutil
import subprocess
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUMMARY = "docs/SUMMARY.md"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(text):
    """Text outside of code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE))


def targets(page):
    """Files that a page links to, from the root."""
    for link in LINK.findall(prose((ROOT / page).read_text())):
        path = urllib.parse.unquote(link.split("#")[0])
        if path and "://" not in link and not link.startswith("mailto:"):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(page), path))


def collected():
    """Pages in order, those that SUMMARY.md does not list, and other files."""
    listed = list(dict.fromkeys(targets(SUMMARY)))
    more, files, queue = [], set(), list(listed)
    while queue:
        for target in targets(queue.pop(0)):
            if target in listed or target in more:
                continue
            if not (ROOT / target).exists():
                sys.exit(f"{target} does not exist")
            if target.endswith(".md"):
                more.append(target)
                queue.append(target)
            elif (ROOT / target).is_file():
                files.add(target)
    return listed, more, files


def title(page):
    return re.search(r"^# (.*)$", (ROOT / page).read_text(), re.M)[1].replace("`", "")


def with_index(text):
    """Links to a folder's README.md as mdBook has them: it renames the pages, and not the links."""
    return re.sub(r"(\]\([^)\s]*)README\.md", r"\1index.md", text)


def write_source(folder):
    """The book's source below `folder`; how many pages it has."""
    shutil.rmtree(folder, ignore_errors=True)
    listed, more, files = collected()
    for name in [*listed, *more, *files]:
        copy = folder / "src" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".md"):
            copy.with_name(copy.name.replace("README", "index")).write_text(with_index((ROOT / name).read_text()))
        else:
            shutil.copy(ROOT / name, copy)
    shutil.copy(ROOT / "docs" / "book.toml", folder / "book.toml")
    place = lambda found: f"]({posixpath.normpath(posixpath.join('docs', found[1]))})"
    summary = LINK.sub(place, (ROOT / SUMMARY).read_text())
    summary += "\n# More\n\n" + "".join(f"- [{title(page)}]({page})\n" for page in more)
    (folder / "src" / "SUMMARY.md").write_text(with_index(summary))
    return len(listed) + len(more)


class Page(html.parser.HTMLParser):
    """What a page of the site links to, and the anchors that it has."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors.add(values.get("id"))
        link = values.get("href") if tag == "a" else values.get("src") if tag == "img" else None
        if link and "://" not in link and not link.startswith(("mailto:", "javascript:")):
            self.links.append(link)


def broken(site):
    """Links of the site that lead nowhere."""
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html") if path.name not in ("toc.html", "print.html")}
    for path, page in pages.items():
        for link in page.links:
            name, _, anchor = urllib.parse.unquote(link).partition("#")
            target = (path.parent / name).resolve() if name else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                yield f"{path.relative_to(site)} links to {link}"


def sized(path):
    return re.match(r'<svg [^>]*\bwidth="\d+" height="\d+"', path.read_text())


def main():
    mdbook, folder = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    count = write_source(folder)
    subprocess.run([mdbook, "build", str(folder)], check=True, timeout=300)
    site = folder / "html"
    wrong = sorted(set(broken(site)))
    # Within a link a browser shows nothing of a picture that does not say its size.
    small = [path.name for path in (folder / "src").rglob("*.svg") if not sized(path)]
    results = {
        "every_page_is_built": len(list(site.rglob("*.html"))) >= count,
        "links_lead_somewhere": not wrong,
        "pictures_say_their_size": not small,
        "search_knows_the_pages": any(site.glob("searchindex*.js")),
    }
    print("\n".join([*wrong[:40], *small]))
    for name, ok in results.items():
        print(f"test docs::{name} ... {'ok' if ok else 'FAILED'}")
    passed = sum(results.values())
    failed = len(results) - passed
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
