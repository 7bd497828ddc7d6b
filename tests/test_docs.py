"""The pages of the project: links resolve, and what they tell users to type exists."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "priors").rglob("*.md")),
]
COMMANDS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"])


def name(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{name(page)} links {target}"
        if anchor and linked.suffix == ".md":
            titles = re.findall(r"^#+ (.*)$", linked.read_text(), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, f"{name(page)} links {target}"


@pytest.mark.parametrize("page", [page for page in PAGES if "results" not in page.parts], ids=name)
def test_commands_and_programs_of_a_page_exist(page):
    text = page.read_text()
    typed = {command.rstrip("-") for command in re.findall(r"\bheadrecon(?:-[a-z]+)+", text)}
    assert typed <= COMMANDS, f"{name(page)}: {typed - COMMANDS}"
    if page.name != "glossary.md":  # which has commands of before
        for program in re.findall(
            r"(?<![\w/])(?:(?:scripts|tools)/[a-z]\w*|tests/(?:\w+/)*test_\w+)\.py\b", text
        ):
            assert (ROOT / program).is_file(), f"{name(page)} names {program}"
    for module in re.findall(r"`(recon(?:/\w+)+\.py)`", text):
        assert (ROOT / module).is_file(), f"{name(page)} names {module}"


def test_the_readme_is_a_page_and_has_both_commands():
    text = (ROOT / "README.md").read_text()
    assert 400 < len(text.split()) < 800
    assert "make demo" in text and "make test" in text


def names_of_options():
    """Names of all options of all commands, with the groups of conf/."""
    found = {"hydra.run.dir"}
    for path in (ROOT / "conf").rglob("*.yaml"):
        group = path.parent.name if path.parent != ROOT / "conf" else ""
        content = yaml.safe_load(path.read_text()) or {}
        found |= {group, group.partition("_")[2], *keys(content, f"{group}." if group else "")}
    return found


def keys(node, prefix):
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs/usage.md"], ids=name)
def test_options_of_a_page_exist(page):
    text = page.read_text()
    commands = [line for line in re.findall(r"`?(headrecon[^`\n#]*=[^`\n#]*)", text)]
    typed = [*re.findall(r"`([^`\n]*)`", text), *commands]
    found = {key for code in typed for key in re.findall(r"(?:^| )\+?([a-z]\w*(?:\.\w+)*)=", code)}
    assert {"scene", "views", "method"} <= found
    assert sorted(found - names_of_options() - {"key"}) == []


def test_every_promise_names_a_test_that_exists():
    page = (ROOT / "docs/promises.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", page)
    assert len(named) > 8
    for file, function in named:
        assert f"def {function}(" in (ROOT / file).read_text(), f"{file} has no {function}"
