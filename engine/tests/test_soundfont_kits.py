"""The drum kits of soundfonts become one-shots: named, apart from each other, without copies of what is known."""

import numpy as np
import pytest
import soundfile as sf
import studio

pytest.importorskip("fluidsynth", reason="needs pyfluidsynth", exc_type=ImportError)

from labelgen import packs, soundfont_kits
from labelgen.material import Item, read_manifest

RATE = packs.RATE


def test_copies_are_told_from_new_sounds():
    rng = np.random.default_rng(0)
    fall = np.exp(-np.arange(RATE // 2) / 4000)
    noise, other = (rng.normal(0, 1, RATE // 2) * fall for _ in range(2))
    low = np.sin(np.arange(RATE // 2) / 90) * fall
    novelty = packs.Novelty()
    assert novelty.add(noise)
    assert not novelty.add(0.3 * noise)
    assert not novelty.add(np.concatenate([np.zeros(40), noise]))
    assert not novelty.add(noise[: RATE // 3])
    assert novelty.add(other) and novelty.add(low) and novelty.add(noise + other)


def test_packs_leave_out_what_is_known(tmp_path, capsys):
    known = studio.one_shots(tmp_path / "known")
    item = next(item for item in read_manifest(known) if item.cls == "snare")
    sound, rate = sf.read(item.path)
    (tmp_path / "new" / "kit").mkdir(parents=True)
    sf.write(tmp_path / "new" / "kit" / "Snare copied.wav", 0.5 * sound, rate)
    sf.write(tmp_path / "new" / "kit" / "Snare mine.wav", np.random.default_rng(9).normal(0, 0.1, 5000), rate)
    sf.write(tmp_path / "new" / "kit" / "Snare mute.wav", np.zeros(5000), rate)
    out = tmp_path / "m.csv"
    assert packs.main([str(tmp_path / "new"), "--out", str(out), "--apart", str(known)]) == 0
    assert [item.path.stem for item in read_manifest(out)] == ["Snare mine"]
    left = capsys.readouterr().err
    assert "copied.wav: a copy" in left and "silent" in left


def test_a_manifest_from_a_spreadsheet_is_read(tmp_path):
    table = "path,class,source,licence\na.wav,kick,x,CC0\na.mid,midi-full,x,CC0\nb.mid,songs,x,CC0\n"
    (tmp_path / "m.csv").write_text(table, encoding="utf-8-sig")
    assert [item.cls for item in read_manifest(tmp_path / "m.csv")] == ["kick", "midi-full", "songs"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("b.wav,snare", "line 3 ends before the columns source, licence"),
        ("b.wav,sanre,x,CC0", "line 3: .*'sanre'.*snare"),
    ],
)
def test_a_wrong_line_of_a_manifest_is_named(tmp_path, row, told):
    (tmp_path / "m.csv").write_text(f"path,class,source,licence\na.wav,kick,x,CC0\n{row}\n")
    with pytest.raises(ValueError, match=rf"m\.csv: {told}"):
        read_manifest(tmp_path / "m.csv")


def test_what_packs_cannot_read_or_write_is_one_line(tmp_path, capsys):
    (tmp_path / "packs" / "kit").mkdir(parents=True)
    sf.write(tmp_path / "packs" / "kit" / "kick.wav", np.hanning(4410), RATE)
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "gone.csv").write_text("path,class,source,licence\ngone.wav,kick,x,CC0\n")
    (tmp_path / "text.csv").write_text("path,class,source,licence\nfile,kick,x,CC0\n")
    for words, told in (
        (["--apart", "nothere.csv"], "nothere.csv"),
        (["--apart", "gone.csv"], "gone.wav"),
        (["--apart", "text.csv"], "file"),
        (["--out", "file/m.csv"], "file"),
    ):
        option, name = words
        assert (
            packs.main([str(tmp_path / "packs"), "--out", str(tmp_path / "m.csv"), option, str(tmp_path / name)]) == 2
        )
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("labelgen: ") and told in line


@pytest.mark.parametrize("name", ["Finger Snap 01", "snap_02", "FingerSnaps"])
def test_finger_snaps_are_no_claps(name):
    assert packs.class_of(name) == "perc" and packs.class_of("Clap") == "clap"


@pytest.mark.parametrize("value", ["7", "-1", "nan"])
def test_a_share_is_between_none_and_all(tmp_path, capsys, value):
    with pytest.raises(SystemExit, match="2"):
        packs.main([str(tmp_path), "--test", value])
    assert f"--test: must be 0 to 1, not {value}" in capsys.readouterr().err


def test_ctrl_c_ends_with_its_code(tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(packs, "read_packs", interrupted)
    assert packs.main([str(tmp_path), "--out", str(tmp_path / "m.csv")]) == 130
    monkeypatch.setattr(soundfont_kits, "SoundFont", interrupted)
    assert soundfont_kits.main([str(tmp_path / "a.sf2"), "--out", str(tmp_path / "kits")]) == 130
    assert not list(tmp_path.iterdir())


def test_a_manifest_of_a_soundfont_that_cannot_be_written_costs_a_line(tmp_path, monkeypatch, capsys):
    item = Item(tmp_path / "a.flac", "kick", "soundfont_a", "CC0", "train")
    monkeypatch.setattr(soundfont_kits, "SoundFont", lambda path, rate: path)
    monkeypatch.setattr(soundfont_kits, "render_font", lambda *_: [item])
    (tmp_path / "file").write_text("no folder")
    assert soundfont_kits.main(["a.sf2", "--out", str(tmp_path / "file")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("labelgen: ") and "file" in line


def test_notes_are_what_the_kit_plays_there():
    standard = soundfont_kits.voices_of("soundfont_x:000_Standard")
    assert (standard[36], standard[48], standard[40], standard[75]) == ("kick", "tom", "snare", "perc")
    assert 39 not in soundfont_kits.voices_of("soundfont_x:040_Brush 1")
    assert 52 in standard and 52 not in soundfont_kits.voices_of("soundfont_x:024_Electronic")
    assert soundfont_kits.voices_of("soundfont_Red_Zeppelin_4_LV2:000_Red")[60] == "crash"


@pytest.mark.skipif(studio.soundfont() is None, reason="needs Debian's timgm6mb-soundfont")
def test_a_soundfont_becomes_one_shots_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(soundfont_kits, "NOTES", (36, 38, 42))
    out = tmp_path / "kits"
    arguments = [str(studio.soundfont()), "--licence", "GPL-2", "--out", str(out)]
    assert soundfont_kits.main(arguments) == 0
    items = read_manifest(out / "manifest.csv", "train")
    assert {item.cls for item in items} == {"kick", "snare", "hat_closed"}
    assert {item.licence for item in items} == {"GPL-2"}
    assert "soundfont_TimGM6mb:000_Standard" in {item.source for item in items}
    assert not any("Orch" in item.source for item in items)
    assert sorted(item.path.resolve() for item in items) == sorted(x.resolve() for x in out.rglob("*.flac"))
    again = [str(studio.soundfont()), "--out", str(tmp_path / "again"), "--apart", str(out / "manifest.csv")]
    assert soundfont_kits.main(again) == 2
    assert "known already" in capsys.readouterr().err
    assert soundfont_kits.main([str(tmp_path / "none.sf2"), "--out", str(tmp_path)]) == 2
