"""What is shown while SAEs are trained says the newest figures of each, as a table or as lines."""

import io

from rich.console import Console

from tasks.sae_study.live import BARS, PLAIN_BARS, WIDTH, TrainingProgress, sparkline


def row(step: int, fvu: float) -> dict:
    return {"step": step, "mse": 100 * fvu, "fvu": fvu, "l0": 16.0, "dead_share": 0.25}


def test_a_curve_runs_from_its_highest_to_its_lowest_value_in_a_bounded_width():
    falling = sparkline([1 - i / 99 for i in range(100)])
    assert len(falling) == WIDTH
    assert (falling[0], falling[-1]) == (BARS[-1], BARS[0])
    assert list(falling) == sorted(falling, reverse=True)
    assert sparkline([0.5, 0.5, 0.5]) == BARS[0] * 3


def test_the_table_has_the_newest_row_of_each_sae():
    progress = TrainingProgress("layer 12", 1000, ["topk k=16", "standard k=16"])
    assert progress.panel() is None
    for step, fvu in ((1, 1.0), (50, 0.25)):
        progress.show(0, row(step, fvu))
    progress.show(1, row(1, 0.75))
    shown = Console(width=100, record=True, file=io.StringIO())
    shown.print(progress.panel())
    text = shown.export_text()
    assert "25.0" in text
    assert "0.250" in text
    assert "0.750" in text
    assert "1.000" not in text


def test_off_a_terminal_each_sae_is_a_line_of_ascii():
    progress, out = TrainingProgress("layer 12", 1000, ["topk k=16"]), io.StringIO()
    for step, fvu in ((1, 1.0), (50, 0.25)):
        progress.show(0, row(step, fvu))
    progress.speak(out)
    line = out.getvalue().splitlines()[-1]
    assert line.isascii()
    assert f"FVU 0.250 {PLAIN_BARS[-1]}{PLAIN_BARS[0]}" in line
    assert "dead 25.0%" in line
