from fractions import Fraction

import pytest

from encoder.sample_tables import Edit
from encoder.timelines.edits import check
from headend.core.errors import MasterError
from tests.support.makers import make_master

ONE = Fraction(1)
DELAY = Edit(Fraction(1, 2), None, ONE)
FIRST, NEXT, OTHER = Edit(3 * ONE, ONE, ONE), Edit(2 * ONE, 4 * ONE, ONE), Edit(2 * ONE, 6 * ONE, ONE)


@pytest.mark.parametrize("edits", [(), (FIRST,), (DELAY, FIRST), (DELAY, DELAY, FIRST), (FIRST, NEXT)])
def test_a_delay_and_one_stretch_are_accepted(edits: tuple[Edit, ...]) -> None:
    check(make_master(), 0, edits)


@pytest.mark.parametrize(
    ("edits", "name"),
    [
        ((FIRST, DELAY, NEXT), "stream 2 has an empty edit of 0.500 s at 3.000 s"),
        ((FIRST, DELAY), "an empty edit of 0.500 s at 3.000 s"),
        ((FIRST, OTHER), r"a second part at 3.000 s \(edit 2 of 2\)"),
        ((OTHER, FIRST), "a second part at 2.000 s"),
        ((DELAY, Edit(ONE, ONE, 2 * ONE)), "a part at 2 times the speed at 0.500 s"),
        ((FIRST, Edit(ONE, 4 * ONE, 0 * ONE)), "a held frame of 1.000 s at 3.000 s"),
    ],
)
def test_edit_lists_that_ffmpeg_would_get_wrong_are_refused_by_name(edits: tuple[Edit, ...], name: str) -> None:
    with pytest.raises(MasterError, match=name):
        check(make_master(), 2, edits)
