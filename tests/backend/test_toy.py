"""The smallest backend, and the page that walks through it. The property tests run it as one of the devices."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import gpuxp
from gpuxp.testing import no_fallback

TOY = Path(__file__).with_name("toy.py")
PAGE = Path(__file__).parents[2] / "docs" / "adding-a-backend.md"


@pytest.fixture
def page() -> str:
    """The page of the documentation."""
    if not PAGE.exists():
        pytest.skip("needs the repository: the docs are not part of the package")
    return PAGE.read_text()


def test_it_is_short_and_the_page_quotes_it(page: str) -> None:
    source = TOY.read_text()
    assert len(source.splitlines()) < 80
    assert f"<!-- tests/backend/toy.py -->\n```python\n{source}```\n" in page


def test_what_the_page_shows_is_so(page: str) -> None:
    shown = [block.split("```")[0] for block in page.split("```pycon\n")[1:]]
    test = doctest.DocTestParser().get_doctest("".join(shown), {}, PAGE.name, str(PAGE), 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


def test_what_it_leaves_out_goes_to_the_host_in_the_open() -> None:
    x = gpuxp.arange(5, device="toy:0")
    with no_fallback():
        assert ((x + 1) * x).tolist() == [0, 2, 6, 12, 20]
        with pytest.raises(gpuxp.FallbackError, match="a toy does not reduce"):
            int(x.sum())
