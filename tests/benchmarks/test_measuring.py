"""How benchmarks compare: in turn, with ratios within a round, and a verdict on the median."""

import torch

from benchmarks.measuring import Row, Times, in_turn, peak_mebibytes, times_table


def test_runs_are_done_in_turn_and_every_second_round_backwards() -> None:
    done: list[str] = []
    found = in_turn({name: lambda name=name: done.append(name) for name in "abc"}, rounds=2)
    assert "".join(done) == "abcabccba"
    assert {name: (len(each.wall), len(each.processor)) for name, each in found.items()} == dict.fromkeys("abc", (2, 2))


def test_memory_is_the_largest_that_was_held_at_once() -> None:
    def run() -> torch.Tensor:
        large = torch.zeros(4 * 2**18)  # 4 MiB
        small = torch.zeros(2**18)
        del large
        return small + torch.zeros(2**18)  # less: the large one is gone

    assert abs(peak_mebibytes(run) - 5) < 0.01


def test_a_goal_is_judged_by_the_median_of_the_processor_time() -> None:
    theirs = Times([1.0, 1.0, 4.0], [1.0, 2.0, 4.0])
    ours = Times([9.0, 9.0, 9.0], [0.5, 1.2, 1.0])  # ratios 0.5, 0.6, 0.25
    rows = [Row("theirs", theirs), Row("ours", ours, theirs, 0.5), Row("half", ours.per(2), theirs, 0.25)]
    lines = times_table("step", rows).splitlines()
    assert [line.split(" | ")[-1] for line in lines[2:]] == [" |", "at most 0.5: pass |", "at most 0.25: pass |"]
    assert times_table("step", [Row("ours", ours, theirs, 0.49)]).endswith("at most 0.49: **short** |")
    assert "| 0.50 (0.25-0.60) | 9.00 (2.25-9.00) |" in lines[3]
