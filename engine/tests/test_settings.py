"""Settings: one record that the library, the command and the page share, on the fly and in a file."""

import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tiny_model
from stage import Script, detector, drums, run, tiny, until

from dance import Detector, Engine, LabelSettings, Settings, SpecError
from dance.cli import main
from dance.commands import play
from dance.sources import Source

ROOM = Settings(
    {
        "kick": LabelSettings(sensitivity=0.7, refractory=0.1),
        "snare": LabelSettings(threshold=0.4, mute=True, gate=0.2),
    },
    offset=-0.012,
)
RATE = 44100


def loaded(settings: Settings | None = None, **options: object) -> Detector:
    return Detector.load(tiny(), sample_rate=RATE, settings=settings, **options)


def test_labels_that_are_missing_have_defaults() -> None:
    assert Settings().for_label("kick") == LabelSettings() == ROOM.for_label("hihat")
    assert ROOM.for_label("kick").sensitivity == 0.7


def test_changing_one_label_leaves_the_rest() -> None:
    changed = ROOM.with_label("kick", gate=0.5).with_label("tom", mute=True)
    assert changed.for_label("kick") == LabelSettings(sensitivity=0.7, refractory=0.1, gate=0.5)
    assert changed.for_label("tom").mute
    assert (changed.for_label("snare"), changed.offset) == (ROOM.for_label("snare"), ROOM.offset)
    assert ROOM.for_label("kick").gate == 0


def test_nobody_else_can_change_them() -> None:
    mine = {"kick": LabelSettings()}
    settings = Settings(mine)
    mine["snare"] = LabelSettings(mute=True)
    assert not settings.for_label("snare").mute


def test_a_sensitivity_replaces_thresholds() -> None:
    changed = ROOM.with_sensitivity({"snare": 0.1}, ["kick", "snare"])
    assert changed.for_label("snare") == LabelSettings(sensitivity=0.1, mute=True, gate=0.2)
    assert changed.for_label("kick") == ROOM.for_label("kick")
    every = ROOM.with_sensitivity(0.9, ["kick", "snare"])
    assert [every.for_label(label).sensitivity for label in ("kick", "snare", "hihat")] == [0.9, 0.9, 0.5]


def test_a_file_brings_them_back(tmp_path: Path) -> None:
    file = tmp_path / "room.json"
    for settings in (Settings(), ROOM):  # the second replaces the first
        settings.save(file)
        assert Settings.load(file) == settings
        assert Settings.from_dict(settings.to_dict()) == settings
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_may_be_written_by_hand(tmp_path: Path) -> None:
    (tmp_path / "room.json").write_text('{"format": 1, "labels": {"kick": {"gate": 0.3}}}')
    assert Settings.load(tmp_path / "room.json") == Settings({"kick": LabelSettings(gate=0.3)})


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "room.json").mkdir()
    with pytest.raises(OSError):
        ROOM.save(tmp_path / "room.json")
    assert [path.name for path in tmp_path.iterdir()] == ["room.json"]


def test_two_that_save_at_once_leave_one_of_both(tmp_path: Path) -> None:
    file, problems = tmp_path / "room.json", []

    def save() -> None:
        try:
            for _ in range(50):
                ROOM.save(file)
        except OSError as error:
            problems.append(error)

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert Settings.load(file) == ROOM
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (None, "no settings file"),
        ("hats off", "not JSON"),
        ("\x00\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "must be a JSON object"),
        ("{}", '"format": 1'),
        ('{"format": 2}', '"format": 1'),
        ('{"format": 1, "labels": 3}', "must be a JSON object"),
        ('{"format": 1, "labels": {"kick": 3}}', "kick must be a JSON object"),
        ('{"format": 1, "volume": 11}', "no setting volume; there are labels, offset"),
        ('{"format": 1, "labels": {"kick": {"gait": 0.3}}}', "no setting gait; there are sensitivity"),
        ('{"format": 1, "labels": {"kick": {"gate": "0.3"}}}', "gate must lie between 0 and 1"),
        ('{"format": 1, "labels": {"kick": {"mute": 1}}}', "mute must be true or false"),
        ('{"format": 1, "offset": NaN}', "offset must lie between -10 and 10"),
        ('{"format": 1, "offset": 35}', "offset must lie between -10 and 10"),
        (f'{{"format": 1, "offset": {10**400}}}', "offset must lie between -10 and 10"),
    ],
)
def test_a_wrong_file_is_refused_in_a_line(tmp_path: Path, text: str | None, hint: str) -> None:
    file = tmp_path / "room.json"
    if text is not None:
        file.write_text(text, encoding="latin-1")
    with pytest.raises(SpecError, match=hint) as caught:
        Settings.load(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"sensitivity": -0.1},
        {"sensitivity": 1.1},
        {"sensitivity": float("nan")},
        {"sensitivity": None},
        {"sensitivity": True},
        {"threshold": 1.5},
        {"refractory": -1},
        {"refractory": 61},
        {"gate": 2},
        {"mute": "no"},
        {"gait": 0.5},
    ],
)
def test_wrong_values(values: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        Settings().with_label("kick", **values)


def test_numbers_of_numpy_become_plain_ones(tmp_path: Path) -> None:
    settings = Settings(offset=np.float32(0.5)).with_label("kick", sensitivity=np.float32(0.25), gate=np.int64(1))
    settings.save(tmp_path / "settings.json")  # JSON holds no others
    assert Settings.load(tmp_path / "settings.json") == settings
    assert loaded(sensitivity=np.float32(0.5)).settings.for_label("kick").sensitivity == 0.5


def test_what_is_set_for_a_drum_must_be_its_settings() -> None:
    with pytest.raises(SpecError, match=r"the settings of kick must be a LabelSettings"):
        Settings({"kick": {"gate": 1}})


def test_a_dictionary_is_no_settings() -> None:
    with pytest.raises(SpecError, match=r"Settings\.from_dict"):
        loaded({"kick": 1})
    engine = Engine(Script(drums()), detector())
    with pytest.raises(SpecError, match=r"Settings\.from_dict"):
        engine.configure({"kick": 0.3})
    engine.stop()


def test_a_folder_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="directory"):
        Settings.load(tmp_path)


def test_what_two_change_at_once_is_not_lost() -> None:
    engine = Engine(Script(drums()), detector())
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def turn(label: str) -> None:
            for _ in range(300):
                engine.change(lambda now: now.with_label(label, gate=now.for_label(label).gate + 1 / 1000))

        threads = [threading.Thread(target=turn, args=(label,)) for label in ("kick", "snare")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert [engine.settings.for_label(label).gate for label in ("kick", "snare")] == pytest.approx([0.3, 0.3])
    engine.stop()


def test_a_detector_takes_them() -> None:
    sound = tiny_model.song(RATE)
    every = loaded().process(sound)
    assert {event.label for event in every} == {"kick", "snare", "hihat"}
    settings = Settings({"kick": LabelSettings(mute=True), "snare": LabelSettings(refractory=2.0)})
    chosen = loaded(settings)
    assert chosen.settings == settings
    events = chosen.process(sound)
    first = next(event for event in every if event.label == "snare")
    assert events == [e for e in every if e.label == "hihat" or e == first or e.sample > first.sample + 2 * RATE]
    assert [event.label for event in events].count("snare") == 2
    assert chosen.presence()[0] == 0
    assert chosen.presence()[2] > 0


def test_an_explicit_sensitivity_goes_before_them() -> None:
    settings = Settings({"kick": LabelSettings(threshold=0.99, gate=0.1)})
    assert loaded(settings, sensitivity={"kick": 0.5}).settings == Settings({"kick": LabelSettings(gate=0.1)})
    with pytest.raises(SpecError, match="cowbell"):
        loaded(sensitivity={"cowbell": 0.5})


def test_the_gate() -> None:
    sound = tiny_model.song(RATE) * np.linspace(0.1, 1, 3 * RATE, dtype=np.float32)
    every = loaded().process(sound)
    level = float(np.median([event.velocity for event in every]))
    gated = loaded(Settings(dict.fromkeys(("kick", "snare", "hihat"), LabelSettings(gate=level))))
    events = gated.process(sound)
    assert {event for event in every if event.velocity >= level} <= set(events)
    assert min(event.velocity for event in events) >= level
    assert len(events) < len(every)


@pytest.mark.parametrize("block", [1, 17, 441, 10**6])
def test_blocks_make_no_difference_under_any_settings(block: int) -> None:
    sound = drums()[: RATE if block == 1 else None]
    settings = Settings(
        {"kick": LabelSettings(gate=0.4, refractory=0.3), "snare": LabelSettings(threshold=0.2, refractory=0.0)}
    )
    whole, parts = loaded(settings), loaded(settings)
    assert (expected := whole.process(sound))
    assert [e for start in range(0, len(sound), block) for e in parts.process(sound[start : start + block])] == expected
    assert np.array_equal(whole.presence(), parts.presence())


def test_they_change_between_blocks_and_hold_from_there() -> None:
    sound = tiny_model.song(RATE)
    half = RATE * 3 // 2
    every = loaded().process(sound)
    changing = loaded()
    events = changing.process(sound[:half])
    assert changing.presence()[1] > 0
    changing.configure(Settings({"snare": LabelSettings(mute=True)}))
    assert changing.presence()[1] == 0
    events += changing.process(sound[half:])
    assert events == [event for event in every if event.label != "snare" or event.reported <= half]
    assert changing.presence()[1] == 0
    changing.reset()
    assert changing.process(sound) == [event for event in every if event.label != "snare"]
    changing.configure(Settings())
    changing.reset()
    assert changing.process(sound) == every


def test_a_detector_refuses_what_it_does_not_know_and_goes_on() -> None:
    alone = loaded(ROOM)
    with pytest.raises(SpecError, match="cowbell"):
        alone.configure(Settings({"cowbell": LabelSettings(), "snare": LabelSettings()}))
    assert alone.settings == ROOM
    assert "snare" not in {event.label for event in alone.process(tiny_model.song(RATE))}


def test_an_engine_takes_them_while_it_runs() -> None:
    sound, gate, done = tiny_model.song(RATE), threading.Event(), threading.Event()
    every = loaded().process(sound)
    last = loaded()
    last.process(sound)
    rest = last.process(sound)
    events = []
    with Engine(Script(sound, gate, sound, done), detector(), events.append) as engine:
        until(lambda: engine.stats.samples == len(sound))
        with pytest.raises(SpecError, match="cowbell"):
            engine.configure(Settings({"cowbell": LabelSettings()}))
        assert engine.settings == Settings()
        muted = Settings({"snare": LabelSettings(mute=True)})
        engine.configure(muted)
        assert engine.settings is muted
        gate.set()
        until(lambda: engine.stats.samples == 2 * len(sound))
        until(lambda: engine.presence()[1] == 0)
        assert engine.presence()[0] > 0
        done.set()
    assert events == every + [event for event in rest if event.label != "snare"]


class Silent(Script):
    """A device that has nothing to say for the moment."""

    def read(self, out, timeout):
        read = super().read(out, timeout)
        return type(read)(read.count) if not self.closed.wait(0.001) else read


def test_muting_silences_presence_though_the_input_stalls() -> None:
    sound = tiny_model.song(RATE, 0.5)
    with Engine(Silent(sound), detector()) as engine:
        until(lambda: engine.stats.samples == len(sound))
        assert engine.presence()[0] > 0
        engine.configure(Settings({"kick": LabelSettings(mute=True)}))
        until(lambda: engine.presence()[0] == 0)
        assert engine.stats.samples == len(sound)


def test_a_file_that_is_being_edited_does_not_end_a_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    song, room, rounds = tmp_path / "song.wav", tmp_path / "room.json", []
    soundfile.write(song, tiny_model.song(RATE), RATE)
    ROOM.save(room)

    def hear(source: Source, detector: Detector, *_: object, **__: object) -> None:
        rounds.append(detector.settings)
        room.write_text("{")
        if len(rounds) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(play, "hear", hear)
    assert main(["play", str(song), "--model", str(tiny()), "--loop", "--settings", str(room)]) == 130
    assert rounds == [ROOM] * 3


def test_the_command_reads_them_and_options_go_before(tmp_path: Path) -> None:
    import soundfile

    song, room = tmp_path / "song.wav", tmp_path / "room.json"
    soundfile.write(song, tiny_model.song(RATE), RATE)
    Settings({"kick": LabelSettings(mute=True), "snare": LabelSettings(threshold=1.0)}).save(room)

    def labels(*options: object) -> set[str]:
        command = ("-m", "dance", "transcribe", song, "--model", tiny(), "--out", tmp_path / "out")
        done = run(*command, *options)
        assert done.returncode == 0, done.stderr
        rows = (tmp_path / "out" / "song.tsv").read_text().splitlines()[1:]
        return {row.split("\t")[1] for row in rows}

    assert labels() == {"kick", "snare", "hihat"}
    assert labels("--settings", room) == {"hihat"}
    assert labels("--settings", room, "--sensitivity", "snare=0.5") == {"snare", "hihat"}
    room.write_text(json.dumps({"format": 1, "labels": {"cowbell": {}}}))
    done = run("-m", "dance", "transcribe", song, "--model", tiny(), "--out", tmp_path, "--settings", room)
    assert (done.returncode, done.stderr) == (2, "dance: no label 'cowbell'; this model has kick, snare, hihat\n")
