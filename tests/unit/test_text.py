"""What strangers tell us is made fit to be kept and shown."""

import pytest

from domain.text import anonymous


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("550 5.1.1 <ada@example.com>: unknown", "550 5.1.1 <(address)>: unknown"),
        ("user=ada+x@example.com,bob@example.org; full", "(address),(address); full"),
        ("two\r\nlines\tof it", "two lines of it"),
        ("half \ud800 and \0", "half \ufffd and \ufffd"),
        ("at @ noon", "at @ noon"),
        ("", None),
        ("  \n", None),
        (None, None),
    ],
)
def test_it_is_one_storable_line_without_addresses(told: str | None, shown: str | None) -> None:
    assert anonymous(told) == shown


def test_it_is_cut_and_however_long_it_is_that_is_done_at_once() -> None:
    assert anonymous("x" * 1_000_000, 10) == "x" * 10
    assert anonymous("y" * 290 + " ada@example.com", 300) == "y" * 290 + " (address)"[:10]
