"""Many windows: what is spent, what is pooled, what alarms."""

import itertools
import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import BadInput
from tasks.drift import Look, Promotion, ScaleLook, draw_timeline, look, write_timeline
from tasks.drift.settings import Drift
from tasks.drift.spending import released, scale_shares
from tasks.settings import Settings

SETTINGS = Settings.model_validate(
    {"drift": {"permutations": 2000, "max_rows": 120, "min_rows": 20, "longest_pool": 4}}
)
KINDS = {
    "data": "sort the rows|join two frames|fill missing values|drop a column|count the cells",
    "songs": "write a ballad|rhyme on winter|sing of the sea|hum a slow tune|end the verse",
}


def rows(kind: str, count: int, seed: int) -> list[dict]:
    draw = random.Random(f"{kind}-{seed}")
    parts = KINDS[kind].split("|")
    return [
        {"prompt": f"{draw.choice(parts)} and {draw.choice(parts)} {draw.randrange(10**6)}"}
        for _ in range(count)
    ]


@pytest.fixture
def write(write_lines: Callable[..., Path]) -> Callable[[str, Sequence[dict]], Path]:
    return lambda name, lines: write_lines(f"{name}.jsonl", *lines)


def looks(reference: Path, paths: Sequence[Path]) -> list[Look]:
    history: list[Look] = []
    for number in range(1, len(paths) + 1):
        history.append(look(reference, paths[:number], [one.brief() for one in history], SETTINGS))
    return history


# What may be spent


@given(
    windows=st.integers(1, 8760),
    alpha=st.floats(1e-4, 0.4),
    early=st.floats(0, 0.9),
    longest=st.integers(1, 4096),
)
def test_no_order_of_looks_spends_more_than_the_budget(
    windows: int, alpha: float, early: float, longest: int
) -> None:
    options = Drift(yearly_alpha=alpha, early_share=early, longest_pool=longest)
    spent = 0.0
    for scale, share in enumerate(scale_shares(longest)):
        step = 2**scale
        last = windows - windows % step
        spent += share * sum(
            released(n, options) - released(n - step, options)
            for n in range(step, last + 1, max(step, last // 50 // step * step or step))
        )
    assert spent <= released(windows, options) * (1 + 1e-9)
    assert released(windows, options) <= alpha * (1 + 1e-9)


@given(st.integers(1, 4096))
def test_shares_of_scales_sum_to_one_and_fall(longest: int) -> None:
    shares = scale_shares(longest)
    assert sum(shares) == pytest.approx(1)
    assert list(shares) == sorted(shares, reverse=True)
    assert 2 ** (len(shares) - 1) <= longest < 2 ** len(shares)


def test_the_first_windows_after_a_restart_get_most() -> None:
    options = Drift()
    each = [released(n, options) - released(n - 1, options) for n in range(1, 1000)]
    assert each == sorted(each, reverse=True)
    assert each[0] > 0.01
    assert each[-1] == pytest.approx(0.5 * 0.05 / 8760, rel=0.02)
    even = Drift(early_share=0)
    assert released(1, even) == pytest.approx(0.05 / 8760)


# What is looked at


def test_pools_of_two_and_four_are_looked_at_when_they_are_full(
    write: Callable[[str, Sequence[dict]], Path],
) -> None:
    reference = write("reference", rows("data", 100, 0))
    paths = [write(f"w{n}", rows("data", 30, n)) for n in range(1, 6)]
    found = looks(reference, paths)
    assert [one.status for one in found] == ["quiet"] * 5
    pools = [[(scale.first, scale.windows) for scale in one.scales] for one in found]
    assert pools == [
        [(1, 1)],
        [(2, 1), (1, 2)],
        [(3, 1)],
        [(4, 1), (3, 2), (1, 4)],
        [(5, 1)],
    ]
    spent = [sum(scale.alpha for scale in one.scales) for one in found]
    for one, total in zip(found, itertools.accumulate(spent), strict=True):
        assert one.alpha_spent == pytest.approx(total)
        assert one.alpha_spent <= one.alpha_released <= SETTINGS.drift.yearly_alpha
    assert found[0].result is not None and found[0].result.alpha == found[0].scales[0].alpha


def test_a_changed_window_alarms_at_its_first_look(
    write: Callable[[str, Sequence[dict]], Path], tmp_path: Path
) -> None:
    reference = write("reference", rows("data", 100, 0))
    paths = [write("w1", rows("data", 60, 1)), write("w2", rows("songs", 60, 2))]
    first = look(reference, paths[:1], [], SETTINGS)
    page = tmp_path / "report.html"
    found = look(reference, paths, [first], SETTINGS, report=page)
    assert (first.status, found.status) == ("quiet", "drift")
    assert found.result is not None and found.result.drift
    assert "this window" in found.why
    assert page.is_file()
    again = look(reference, paths, [first.brief()], SETTINGS)
    assert again == found
    assert Look.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_small_windows_wait_for_each_other(write: Callable[[str, Sequence[dict]], Path]) -> None:
    reference = write("reference", rows("data", 100, 0))
    kinds = ["data", "data", "songs", "songs", "songs"]
    paths = [write(f"w{n}", rows(kind, 12, n)) for n, kind in enumerate(kinds)]
    found = looks(reference, paths)
    statuses = ["undecidable", "quiet", "undecidable", "drift", "undecidable"]
    assert [one.status for one in found] == statuses
    assert "12 prompts" in found[0].why and "20" in found[0].why
    assert found[0].alpha_spent == 0 and found[0].scales == ()
    assert (found[3].scales[0].first, found[3].scales[0].windows) == (3, 2)


def test_what_cannot_be_read_is_left_out(
    write: Callable[[str, Sequence[dict]], Path], tmp_path: Path
) -> None:
    reference = write("reference", rows("data", 100, 0))
    cut = tmp_path / "cut.jsonl"
    cut.write_text('{"prompt": "sort the ro')
    gone = tmp_path / "gone.jsonl"
    paths = [cut, write("w1", rows("data", 40, 1)), gone, write("w2", rows("data", 40, 2))]
    found = looks(reference, paths)
    assert [one.status for one in found] == ["undecidable", "quiet"] * 2
    assert "cut.jsonl:1" in found[0].why and "gone.jsonl" in found[2].why
    assert [scale.windows for scale in found[3].scales] == [1, 2]
    spoilt = paths[1].read_text()
    paths[1].write_text("{cut")
    alone = look(reference, paths, found[:3], SETTINGS)
    assert (alone.status, [scale.windows for scale in alone.scales]) == ("quiet", [1])
    paths[1].write_text(spoilt)
    paths[1].unlink()
    later = look(reference, paths, found[:3], SETTINGS)
    assert [scale.windows for scale in later.scales] == [1, 1]


def test_a_reference_that_cannot_be_used_is_said_and_stops_nothing(
    write: Callable[[str, Sequence[dict]], Path],
) -> None:
    found = looks(write("reference", rows("data", 5, 0)), [write("w1", rows("data", 40, 1))])
    assert found[0].status == "undecidable" and "reference.jsonl" in found[0].why


def test_a_history_of_other_windows_is_refused() -> None:
    with pytest.raises(ValueError, match="2 windows need 1 looks, not 0"):
        look(Path("r"), [Path("a"), Path("b")], [], SETTINGS)


# The time line


def made(status: str, number: int, p_value: float, window: str = "w.jsonl") -> Look:
    scale = ScaleLook(
        scale=0, windows=1, first=number, p_value=p_value, alpha=0.001, drift=p_value <= 0.001
    )
    return Look(
        number=number,
        window=window,
        rows=50,
        status=status,
        why=f"p = {p_value}",
        scales=() if status == "undecidable" else (scale,),
        alpha_spent=0.001 * number,
        alpha_released=0.002 * number,
        result=None,
    )


HOSTILE = "<script>alert(1)</script>\u202e$x^2$"


def test_the_time_line_shows_alarms_and_promotions(tmp_path: Path) -> None:
    looks = [made("quiet", 1, 0.4), made("undecidable", 2, 1.0), made("drift", 3, 1e-5, HOSTILE)]
    promotions = [Promotion(before=0, version=7)]
    page = write_timeline(tmp_path / "t.html", looks, promotions, HOSTILE).read_text()
    assert "3 windows looked at" in page and "1 alarm," in page and "1 not decidable" in page
    assert "<script" not in page and "\u202e" not in page
    assert "https://" not in re.sub(r'xmlns(:\w+)?="[^"]*"|<metadata>.*?</metadata>', "", page)
    picture = draw_timeline(looks, promotions)
    assert picture.startswith("<svg") and picture == draw_timeline(looks, promotions)
    assert picture != draw_timeline(looks[:2], promotions)
    png = write_timeline(tmp_path / "t.png", looks, promotions)
    assert png.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(BadInput, match=r"\.svg, \.png or \.html"):
        write_timeline(tmp_path / "t.pdf", looks)


def test_a_time_line_of_nothing_says_so(tmp_path: Path) -> None:
    assert "No window" in write_timeline(tmp_path / "t.html", []).read_text()
