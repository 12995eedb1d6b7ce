"""The benchmark's arithmetic: a wrong figure is worse than none."""

import array
from pathlib import Path

import pytest

from tests.bench import clicks
from tests.bench.clicks import Arrival
from tests.bench.figures import BASELINE, FLOOR, Figure, Figures, percentile, slope
from tests.bench.hops import delays_ms
from tests.bench.table import digits, number, table
from tests.bench.targets import TARGETS, targets_of
from tests.bench.usage import Snapshot, Thread, busy_cores, used


def test_percentiles_lie_between_the_values():
    values = [4.0, 1.0, 3.0, 2.0]
    assert [percentile(values, percent) for percent in (0, 50, 100)] == [1, 2.5, 4]
    assert percentile([7.0], 95) == 7


def test_slope_is_what_each_further_one_costs():
    assert slope([(1, 5.0), (2, 7.0), (4, 11.0)]) == pytest.approx(2)


def test_ratio_is_taken_in_each_round():
    figures = Figures()
    figures.add("cpu", "whole tree", "%", 1.0, 4.0, 3.0)
    figures.add("cpu", "whole tree", "%", 2.0, 4.0, 1.0, subject=BASELINE)
    assert figures.ratio("cpu", "whole tree") == 1.0
    assert figures.ratio("cpu", "whole tree", to=FLOOR) is None


def test_ratio_of_unequal_rounds_is_that_of_the_medians():
    figures = Figures()
    figures.add("cpu", "x", "%", 1.0, 2.0, 9.0)
    figures.add("cpu", "x", "%", 4.0, subject=BASELINE)
    assert figures.ratio("cpu", "x") == 0.5


def test_figures_survive_json():
    figures = Figures()
    figures.add("memory", "PSS", "MB", 30.0, 31.0)
    again = Figures(Figure(**each) for each in figures.plain())
    assert again.plain() == figures.plain()
    assert again.get("memory", "PSS").median == 30.5


@pytest.mark.parametrize(
    ("engine", "mark"), [(1.4, "beyond"), (1.5, "beyond"), (1.6, "reached"), (1.8, "reached"), (1.9, "MISSED")]
)
def test_cpu_is_judged_by_the_ratio(engine: float, mark: str):
    figures = Figures()
    figures.add("cpu", "whole tree", "%", engine)
    figures.add("cpu", "whole tree", "%", 2.0, subject=BASELINE)
    (target,) = targets_of("cpu", "whole tree")
    assert target.mark(figures) == mark


def test_what_shall_be_large_is_judged_the_other_way_round():
    (target,) = targets_of("file", "plain TCP")
    marks = []
    for speed in (999.0, 1000.0, 3000.0):
        figures = Figures()
        figures.add("file", "plain TCP", "x", speed)
        marks.append(target.mark(figures))
    assert marks == ["MISSED", "reached", "beyond"]


def test_the_engine_must_be_ahead_of_the_baseline_and_near_the_floor():
    figures = Figures()
    figures.add("delay", "p50 against the floor", "ms", 5.0)
    figures.add("delay", "p50 against the floor", "ms", 44.0, subject=BASELINE)
    assert [target.mark(figures) for target in targets_of("delay", "p50 against the floor")] == ["reached", "MISSED"]


def test_what_was_not_measured_is_not_judged():
    assert {target.mark(Figures()) for target in TARGETS} == {""}


def test_table_has_medians_range_ratio_and_verdict():
    figures = Figures()
    figures.add("cpu", "whole tree", "% of a core", 2.0, 1.0, 4.0)
    figures.add("cpu", "whole tree", "% of a core", 4.0, 4.0, 4.0, subject=BASELINE)
    figures.add("cpu", "all that runs", "cores", 0.5, subject="machine")
    shown = table(figures, ["the floor is left out"])
    row = next(line for line in shown.splitlines() if line.startswith("whole tree"))
    cells = "whole tree, % of a core", "2 [1 4]", "4", "0.50", "ratio <= 0.9 x baseline (beyond: 0.75)", "beyond"
    assert row.split() == " ".join(cells).split()
    assert "all that runs cores" in shown
    assert shown.endswith("* the floor is left out")


def test_variants_stand_below_the_figure_with_their_ratio_to_the_engine_as_it_is():
    figures = Figures()
    figures.add("tricks", "PSS", "MB", 40.0, 50.0)
    figures.add("tricks", "PSS", "MB", 44.0, 55.0, subject="without zygote")
    lines = table(figures).splitlines()
    below = lines[next(place for place, line in enumerate(lines) if line.startswith("PSS")) + 1]
    assert below.split() == ["without", "zygote", "49.5", "[44", "55]", "1.10"]


def test_numbers_have_three_digits_that_count():
    assert [digits(each) for each in (0.01234, 1.005, 30.0, 99.95, 123.4, 5678.9)] == [
        "0.0123",
        "1",
        "30",
        "100",
        "123",
        "5679",
    ]
    assert number([3.0, 1.0, 2.0, 4.0]) == "2.5 [1 4]"
    assert number([3.0]) == "3"


def test_use_is_the_difference_of_two_snapshots():
    before = Snapshot(0, {1: Thread("a", "a", 100, 5), 2: Thread("b", "threaded-ml", 0, 0), 4: Thread("a", "x", 1, 1)})
    later = {1: Thread("a", "a", 300, 9), 2: Thread("b", "threaded-ml", 50, 3), 3: Thread("b", "new", 50, 1)}
    difference = used(before, Snapshot(1000, later))
    assert difference.cpu_by_process == {"a": 20, "b": 10}
    assert difference.cpu == pytest.approx(30)
    assert difference.pulse_cpu == 5
    assert difference.switches_per_s == pytest.approx(8 / 1e-6)
    assert difference.lost_threads == 1


def test_busy_cores_of_all_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert busy_cores((100, 1000), (150, 1200)) == 0.5


def test_clicks_are_found_where_they_were_played(tmp_path: Path):
    pcm = clicks.train(5, seed=1)
    samples = array.array("h", pcm)
    played = [at for at in range(1, len(samples)) if samples[at] and not samples[at - 1]]
    (tmp_path / "0.pcm").write_bytes(pcm)
    ends = range(320, len(samples) + 320, 320)
    (tmp_path / "0.times").write_bytes(array.array("q", [n for end in ends for n in (end * 10, end)]).tobytes())
    found = clicks.arrivals(tmp_path / "0")
    assert [each.sample for each in found] == played
    assert [each.at_ns for each in found] == [(at // 320 + 1) * 3200 for at in played]
    assert clicks.frame_times_ns(tmp_path / "0")[:2] == [3200, 6400]


def test_silence_has_no_clicks(tmp_path: Path):
    (tmp_path / "0.pcm").write_bytes(bytes(640))
    (tmp_path / "0.times").write_bytes(array.array("q", [1, 320]).tobytes())
    assert clicks.arrivals(tmp_path / "0") == []


def test_clicks_are_compared_one_by_one():
    early = [Arrival(100, 1_000_000), Arrival(5000, 9_000_000)]
    late = [Arrival(400, 3_000_000), Arrival(5301, 10_000_000)]  # began to record earlier; a sample is rounding
    assert clicks.differences_ms(late, early) == [2, 1]


@pytest.mark.parametrize("other", [[], [Arrival(0, 0)], [Arrival(0, 0), Arrival(4000, 0)]])
def test_lost_audio_is_no_delay(other: list[Arrival]):
    with pytest.raises(ValueError, match=r"clicks against|audio is missing"):
        clicks.differences_ms([Arrival(100, 0), Arrival(5000, 0)], other)


def test_arrivals_belong_to_the_write_before_them():
    writes = [20_000_000 * n for n in range(1, 101)]
    arrivals = [at + 700_000 for at in writes] + [15_000_000]
    assert set(delays_ms(writes, arrivals)) == {0.7}


def test_arrivals_without_writes_are_refused():
    with pytest.raises(AssertionError, match="belong to"):
        delays_ms([20_000_000 * n for n in range(1, 101)], [20_700_000])
