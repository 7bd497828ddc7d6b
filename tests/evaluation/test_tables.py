import csv
import io
import json
from pathlib import Path

import pytest

from recon.evaluation.batch import Score
from recon.evaluation.predictions import Job
from recon.evaluation.published import ROWS
from recon.evaluation.tables import Report, rows


def scored(scene, views, face, head, method="ours"):
    numbers = {
        mode: {
            part: {"mean_mm": value * factor, "region": part}
            for part, value in (("face", face), ("head", head))
        }
        for mode, factor in (("official", 1.0), ("strict", 0.5))
    }
    return Score(Job(method, scene, views, Path(f"{scene}_{views}.ply")), numbers)


SCORES = [
    scored("a", 3, 1.0, 10.0),
    scored("b", 3, 2.0, 14.0),
    scored("a", 8, 0.8, 6.0),
    Score(Job("ours", "b", 8, Path("b_8.ply")), error="has no faces"),
]


def test_means_and_deviations_by_hand():
    (row,) = rows(SCORES, "official", "test")
    assert row.cells[3].scenes == 2
    assert row.cells[3].mean == pytest.approx((1.5, 12.0))
    assert row.cells[3].std == pytest.approx((0.5, 2.0))
    assert row.cells[8].scenes == 1


def with_ears(score, ears):
    score.numbers["strict"]["ears"] = {"mean_mm": ears, "region": "ears"}
    return score


def test_ears_stand_beside_the_strict_numbers_over_the_scenes_that_show_them():
    scores = [
        with_ears(scored("a", 3, 1.0, 10.0), 1.25),
        with_ears(scored("b", 3, 2.0, 14.0), 2.25),
        scored("covered", 3, 3.0, 18.0),
    ]
    assert rows(scores, "strict", "test")[0].cells[3].ears == pytest.approx(1.75)
    assert rows(scores, "official", "test")[0].cells[3].ears is None
    report = Report(scores, "test", 3, [])
    text = report.text()
    assert (
        "1.00 / 7.00 / 1.75" in text and "Face / head / ears (of the subjects that show them) in mm" in text
    )
    assert "0.50 / 5.00 / 1.25" in text and "1.50 / 9.00\n" in text  # the covered one has no third number
    lines = list(csv.DictReader(io.StringIO(report.csv())))
    assert [line["mean_mm"] for line in lines if line["region"] == "ears"] == ["1.25", "2.25"]
    assert json.loads(report.json())["table"][1]["views"]["3"]["ears"] == {"mean": 1.75}


def test_text_has_ours_beside_the_published_with_protocols():
    text = Report(SCORES, "H3DS v1", 2, ["config_v1"]).text()
    ours = next(line for line in text.splitlines() if line.startswith("ours"))
    assert "H3DS 0.4.0 official" in ours and "1.50 / 12.00" in ours and "0.80 / 6.00 (1 of 2)" in ours
    idr = next(line for line in text.splitlines() if line.startswith("IDR"))
    assert "2.79 / 14.58" in idr and "H3DS 0.4.0 official" in idr and "10 scenes" in idr
    assert "H3DS v2" not in text
    assert "strict 1" in text and "0.75 / 6.00" in text
    assert "not scored: ours, b, 8 views: has no faces" in text
    assert "standard deviation" in text and "0.50 / 2.00" in text


def test_columns_are_all_numbers_of_views():
    header = Report(SCORES, "demo").markdown().splitlines()[2]
    assert header.split("|")[4:-1] == [f" {v} view{'s' if v > 1 else ''} " for v in (1, 3, 4, 6, 8, 16, 32)]
    assert "compare only on the same scenes" in Report(SCORES, "demo").markdown()


def test_csv_and_json_hold_every_score_and_failure():
    report = Report(SCORES, "demo", 2)
    lines = list(csv.DictReader(io.StringIO(report.csv())))
    assert len(lines) == 3 * 2 * 2 + 1
    assert lines[0]["mean_mm"] == "1.0" and lines[-1]["error"] == "has no faces"
    content = json.loads(report.json())
    assert content["table"][0]["views"]["3"]["head"] == {"mean": 12.0, "std": 2.0}
    assert [s["error"] for s in content["scores"]] == [None, None, None, "has no faces"]
    assert len(content["published"]) == 4


def test_nothing_scored_still_reports():
    report = Report([SCORES[3]], "demo", 1, [])
    assert "not scored" in report.text() and report.failed == [SCORES[3]]


def test_published_rows_improve_with_views_up_to_noise():
    assert {row.method for row in ROWS} == {"IDR", "H3D-Net", "SIRA++"}
    for row in ROWS:
        views = sorted(row.errors_mm)
        assert row.errors_mm[views[-1]][1] < row.errors_mm[views[0]][1]
        assert all(face < head for face, head in row.errors_mm.values())
