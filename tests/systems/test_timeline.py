import subprocess
import sys
import time

from recon.systems.timeline import Timeline, process_age_s


def test_every_second_has_a_name():
    now = iter([100.0, 101.5, 103.5, 104.0, 110.25])
    timeline = Timeline(lambda: next(now))
    timeline.before("import", 3.0)
    for stage, part in (("open", None), ("mesh", "extract"), ("report", None), ("mesh", "colours")):
        timeline.lap(stage, part)
    assert timeline.seconds() == {"import": 3.0, "open": 1.5, "mesh": 2.0 + 6.25, "report": 0.5}
    assert list(timeline.seconds()) == ["import", "open", "mesh", "report"]
    assert timeline.parts() == {"mesh": {"extract": 2.0, "colours": 6.25}}
    assert str(timeline) == "import 3.0, open 1.5, mesh 8.2 (extract 2.0, colours 6.2), report 0.5 = 13.2 s"
    assert timeline.total() == 13.25


def test_what_is_not_known_is_left_out():
    timeline = Timeline(lambda: 0.0)
    timeline.before("import", None)
    assert timeline.seconds() == {}


def test_the_age_of_a_process_is_the_time_since_its_start():
    code = "import time; time.sleep(0.3); from recon.systems.timeline import process_age_s; print(process_age_s())"
    begun = time.monotonic()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "None\n" or 0.25 < float(out) < time.monotonic() - begun + 0.05


def test_where_the_system_does_not_tell_there_is_no_age(monkeypatch):
    monkeypatch.delattr("time.CLOCK_BOOTTIME", raising=False)
    assert process_age_s() is None
