"""Files come whole, at the right rate and pace; a live input says what is wrong with it (PortAudio is played here)."""

import itertools
import math
import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from stage import drums, run

from dance import Microphone, Read, SoundFile, SourceError, SpecError
from dance.portaudio import list_devices
from dance.sources import Source
from dance.speaker import Speaker

SOUND = drums(1.0)


def read_all(source: Source, sizes: itertools.cycle | None = None) -> np.ndarray:
    """Return all samples, read in blocks of these sizes."""
    parts, sizes = [], sizes or itertools.cycle([4096])
    while True:
        out = np.full(next(sizes), np.nan, np.float32)
        read = source.read(out, 1.0)
        assert read.lost_before == 0
        parts.append(out[: read.count])
        assert not np.isnan(parts[-1]).any()
        if read.ended:
            return np.concatenate(parts)


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "drums.wav"
    soundfile.write(path, SOUND, 44100, subtype="FLOAT")
    return path


@pytest.mark.parametrize("sizes", [(1, 1000), (17,), (441,), (4096, 0, 5), (100000,)])
def test_a_file_comes_whole_whatever_the_blocks(wav: Path, sizes: tuple[int, ...]) -> None:
    with SoundFile(wav) as source:
        assert (source.sample_rate, source.seconds, source.live) == (44100, 1.0, False)
        np.testing.assert_array_equal(read_all(source, itertools.cycle(sizes)), SOUND)
        assert source.read(np.empty(5, np.float32), 0.0) == Read(0, ended=True)


def test_a_file_longer_than_a_block_of_the_decoder(tmp_path: Path) -> None:
    for length in (1, (1 << 14) - 1, 1 << 14, (1 << 15) + 1):
        sound = np.random.default_rng(length).uniform(-1, 1, length).astype(np.float32)
        soundfile.write(tmp_path / "x.wav", sound, 48000, subtype="FLOAT")
        with SoundFile(tmp_path / "x.wav") as source:
            np.testing.assert_array_equal(read_all(source), sound)


def test_channels_are_averaged(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).uniform(-1, 1, (5000, 3)).astype(np.float32)
    soundfile.write(tmp_path / "three.wav", frames, 48000, subtype="FLOAT")
    with SoundFile(tmp_path / "three.wav") as source:
        assert source.sample_rate == 48000
        np.testing.assert_allclose(read_all(source), frames.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 22050, 32000, 96000])
def test_other_rates_are_resampled_in_one_stream(tmp_path: Path, rate: int) -> None:
    seconds = np.arange(3 * rate) / rate
    soundfile.write(tmp_path / "sine.wav", 0.5 * np.sin(2 * np.pi * 440 * seconds), rate, subtype="FLOAT")
    with SoundFile(tmp_path / "sine.wav") as source:
        assert source.sample_rate == 44100
        sound = read_all(source, itertools.cycle([333]))
    assert abs(len(sound) - 3 * 44100) <= 2
    middle = slice(4410, -4410)
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(sound)) / 44100)
    np.testing.assert_allclose(sound[middle], wanted[middle], atol=1e-3)


def test_the_wanted_rates_decide(wav: Path) -> None:
    for rates, rate in ((48000, 48000), ((48000, 44100), 44100), ((48000, 32000), 48000)):
        with SoundFile(wav, rates) as source:
            assert source.sample_rate == rate
            assert abs(len(read_all(source)) - rate) <= 2


@pytest.mark.parametrize("rate", [np.int64(48000), 48000.0, [np.int32(48000)], np.array([48000, 32000])])
def test_rates_may_be_numbers_of_any_kind(wav: Path, rate: object) -> None:
    with SoundFile(wav, rate) as source:
        assert source.sample_rate == 48000
        assert type(source.sample_rate) is int


@pytest.mark.parametrize("rate", [0, -5, 44100.5, math.nan, math.inf, [], [44100, 0], "44100", object()])
def test_what_is_no_rate_is_refused(wav: Path, rate: object) -> None:
    with pytest.raises(SpecError, match="a sample rate is a whole number of hertz"):
        SoundFile(wav, rate)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_spoils_no_other_sample(tmp_path: Path, value: float) -> None:
    heard = {}
    for name, wrong in (("wrong", value), ("silent", 0)):
        sound = drums(0.5, 22050)
        sound[5000] = wrong
        soundfile.write(tmp_path / f"{name}.wav", sound, 22050, subtype="FLOAT")
        with SoundFile(tmp_path / f"{name}.wav") as source:
            heard[name] = read_all(source)
        with SoundFile(tmp_path / f"{name}.wav", 22050) as source:  # as it is: who hears it, counts it
            out = np.empty(len(sound), np.float32)
            assert source.read(out, 1.0).count == len(out)
            np.testing.assert_array_equal(out, sound)
    np.testing.assert_array_equal(heard["wrong"], heard["silent"])


def test_a_name_that_is_no_text(wav: Path) -> None:
    path = wav.rename(wav.with_name(os.fsdecode(b"caf\xe9.wav")))
    with SoundFile(path) as source:
        assert source.name.endswith(r"caf\udce9.wav")
        assert len(read_all(source)) == len(SOUND)


def test_a_compressed_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "drums.ogg", SOUND, 44100)
    with SoundFile(tmp_path / "drums.ogg") as source:
        sound = read_all(source)
    assert len(sound) == len(SOUND)
    assert np.corrcoef(sound, SOUND)[0, 1] > 0.9


def test_a_pipes_name_is_no_file() -> None:
    with pytest.raises(SourceError, match="for a pipe use `dance listen --stdin`"):
        SoundFile("-")


def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound in here")
    (tmp_path / "nothing.wav").touch()
    (tmp_path / "samples.raw").write_bytes(bytes(1000))
    os.mkfifo(tmp_path / "pipe.wav")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, np.float32), 44100)
    for name, reason in {
        "missing.wav": "no such file",
        "text.wav/below.wav": "Not a directory",
        "\0.wav": "no such file",
        "x" * 300: "File name too long",
        ".": "is a folder; name the files in it",
        "pipe.wav": "not a regular file; for a pipe use `dance listen --stdin`",
        "samples.raw": "raw samples, which do not tell their rate",
        "text.wav": "not readable as audio",
        "nothing.wav": "not readable as audio",
        "empty.wav": "holds no samples",
    }.items():
        with pytest.raises(SourceError, match=reason) as error:
            SoundFile(tmp_path / name)
        assert "\n" not in str(error.value)
        assert str(tmp_path / name) in str(error.value)


def test_a_file_that_is_cut_off_ends_or_says_so(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "whole.flac", np.tile(SOUND, 5), 44100)
    data = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    with SoundFile(tmp_path / "cut.flac") as source:
        try:
            assert 0 < len(read_all(source)) < 5 * len(SOUND)
        except SourceError as error:
            assert "damaged after" in str(error)


def test_a_file_whose_header_tells_no_length_comes_whole(tmp_path: Path) -> None:
    sound = np.tile(SOUND, 5)
    soundfile.write(tmp_path / "piped.flac", sound, 44100)
    data = bytearray((tmp_path / "piped.flac").read_bytes())
    data[21] &= 0xF0  # what an encoder leaves that could not go back to write it: 36 bits of zeros
    data[22:26] = bytes(4)
    (tmp_path / "piped.flac").write_bytes(data)
    with SoundFile(tmp_path / "piped.flac") as source:
        assert source.seconds == len(sound) / 44100
        np.testing.assert_allclose(read_all(source), sound, atol=1e-4)
    (tmp_path / "none.flac").write_bytes(data[:42])  # up to the first frame
    with pytest.raises(SourceError, match=r"none\.flac: (holds no samples|not readable)"):
        SoundFile(tmp_path / "none.flac")


@pytest.mark.parametrize(("module", "rate"), [("soundfile", 44100), ("soxr", 48000)])
def test_missing_modules_are_named(wav: Path, monkeypatch: pytest.MonkeyPatch, module: str, rate: int) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SourceError, match=rf'needs {module}: pip install "\.\[files\]"'):
        SoundFile(wav, rate)


def test_a_closed_file_has_ended(wav: Path) -> None:
    source = SoundFile(wav)
    source.close()
    source.close()
    assert source.read(np.empty(10, np.float32), 1.0) == Read(0, ended=True)


def test_real_time_is_never_early_and_does_not_drift(wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 500.0
    monkeypatch.setattr("dance.sources.monotonic", lambda: now)
    source = SoundFile(wav, realtime=True)
    late = itertools.cycle([0.0, 0.0031, 0.0007])  # a waiting thread wakes up too late, each time anew

    def wait(seconds: float) -> bool:
        nonlocal now
        now += seconds + next(late)
        return False

    monkeypatch.setattr(source, "_closed", SimpleNamespace(wait=wait, is_set=lambda: False))
    out, position = np.empty(4096, np.float32), 0
    assert source.live
    while not (read := source.read(out, 1.0)).ended:
        np.testing.assert_array_equal(out[: read.count], SOUND[position : position + read.count])
        position += read.count
        assert position / 44100 <= now - 500 + 1e-9
        assert position / 44100 >= now - 500 - 0.0031 - 257 / 44100
    assert position + read.count == len(SOUND)
    assert 1.0 <= now - 500 <= 1.01


def test_real_time_keeps_to_the_timeout(wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    source = SoundFile(wav, realtime=True)
    monkeypatch.setattr("dance.sources.monotonic", lambda: 0.0)
    monkeypatch.setattr(source, "_closed", SimpleNamespace(wait=waited.append, is_set=lambda: False))
    assert source.read(np.empty(100, np.float32), 0.001) == Read(0)
    assert waited == [0.001]


def test_closing_wakes_a_reader_that_waits(wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SoundFile(wav, realtime=True)
    monkeypatch.setattr(source, "_position", 10**9)  # far ahead of the clock
    reads: list[Read] = []
    reader = threading.Thread(target=lambda: reads.append(source.read(np.empty(9, np.float32), 1e6)))
    reader.start()
    source.close()
    reader.join(60)
    assert reads == [Read(0, ended=True)]


class Stream:
    """A PortAudio stream whose callbacks the test makes."""

    def __init__(self, **options: object) -> None:
        self.options = options
        self.active = True
        self.closed = False

    def hear(self, frames: np.ndarray, status: int = 0) -> None:
        answer = self.options["stream_callback"](frames.astype(np.float32).tobytes(), len(frames), {}, status)
        assert answer == (None, 0)

    def is_active(self) -> bool:
        assert not self.closed
        return self.active

    def close(self) -> None:
        self.closed = True


class PortAudio:
    """Stands in for the module `pyaudio`; devices are (name, input channels, default rate, rates accepted).

    Those without inputs are outputs.
    """

    paFloat32, paInputOverflow, paOutputUnderflow, paContinue = 1, 2, 4, 0  # noqa: N815

    def __init__(self, *devices: tuple[str | bytes, int, float, set[int]], default: int | None = None) -> None:
        self.devices, self.default = devices, default
        self.tried: list[int] = []
        self.streams: list[Stream] = []
        self.instances = self.searches = 0

    def PyAudio(self) -> "PortAudio":  # noqa: N802
        self.instances += 1
        self.searches += 1
        return self

    def terminate(self) -> None:
        self.instances -= 1

    def get_device_count(self) -> int:
        return len(self.devices)

    def get_device_info_by_index(self, index: int) -> dict[str, object]:
        name, channels, rate, _ = self.devices[index]
        return {
            "index": index,
            "name": name,
            "maxInputChannels": channels,
            "maxOutputChannels": 0 if channels else 2,
            "defaultSampleRate": rate,
        }

    def get_default_input_device_info(self) -> dict[str, object]:
        if self.default is None:
            raise OSError("No Default Input Device Available")
        return self.get_device_info_by_index(self.default)

    def get_default_output_device_info(self) -> dict[str, object]:
        raise OSError("No Default Output Device Available")

    def open(self, **options: object) -> Stream:
        rate = options["rate"]
        self.tried.append(rate)
        if rate not in self.devices[options["input_device_index" if "input" in options else "output_device_index"]][3]:
            raise OSError(-9997, "Invalid sample rate")
        self.streams.append(Stream(**options))
        return self.streams[-1]


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> PortAudio:
    played = PortAudio(
        ("HDA Speakers", 0, 48000.0, set()),
        ("HDA Mic", 2, 48000.0, {44100, 48000}),
        ("USB Mic", 1, 44100.0, {44100}),
        ("Webcam USB", 2, 16000.0, {16000, 48000}),
        ("Telephone", 1, 8000.0, {8000}),
        ("USB", 8, 96000.0, {44100, 48000, 96000}),
        default=1,
    )
    monkeypatch.setitem(sys.modules, "pyaudio", played)
    yield played
    assert played.instances == 0  # whatever happened, PortAudio was let go


def test_devices_are_the_inputs(portaudio: PortAudio) -> None:
    found = list_devices()
    assert [device.index for device in found] == [1, 2, 3, 4, 5]
    assert [device.name for device in found if device.default] == ["HDA Mic"]
    assert (found[1].channels, found[1].sample_rate) == (1, 44100)


@pytest.mark.parametrize(
    ("device", "name", "rate", "channels"),
    [
        (None, "HDA Mic", 48000, 2),  # the default device at its own rate
        (2, "USB Mic", 44100, 1),
        ("hda", "HDA Mic", 48000, 2),
        ("usb m", "USB Mic", 44100, 1),
        ("usb", "USB", 44100, 2),  # an exact name goes before a part of one; an unwanted default rate
        ("webcam", "Webcam USB", 48000, 2),  # 44100 is refused
    ],
)
def test_device_rate_and_channels(
    portaudio: PortAudio, device: int | str | None, name: str, rate: int, channels: int
) -> None:
    with Microphone(device, period=128) as source:
        assert (source.name, source.sample_rate, source.channels, source.live) == (name, rate, channels, True)
        options = portaudio.streams[-1].options
        assert (options["rate"], options["channels"], options["frames_per_buffer"]) == (rate, channels, 128)
    assert portaudio.streams[-1].closed


def test_wanted_rates_and_channels(portaudio: PortAudio) -> None:
    with Microphone(1, 44100, channels=1) as source:
        assert (source.sample_rate, source.channels) == (44100, 1)
    with Microphone(5, (96000, 44100)) as source:
        assert source.sample_rate == 96000
    assert portaudio.tried == [44100, 96000]


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("piano", 'no input device "piano"; there are: 1 HDA Mic, 2 USB Mic'),
        (0, 'no input device "0"'),
        (99, 'no input device "99"'),
        ("phone", '"Telephone" does not record 1 channels at 44100 or 48000 Hz .*Invalid sample rate'),
    ],
)
def test_a_device_that_cannot_be_had_is_one_line(portaudio: PortAudio, device: int | str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as error:
        Microphone(device)
    assert "\n" not in str(error.value)


def test_a_name_that_is_no_text_is_that_of_a_device_like_others(portaudio: PortAudio) -> None:
    portaudio.devices += ((b"\xc4u\xdferes Mic", 1, 44100.0, {44100}), (b"Geh\xe4use", 0, 44100.0, set()))
    assert list_devices()[-1].name == "\ufffdu\ufffderes Mic"
    with Microphone("eres mic") as source:
        assert source.name == "\ufffdu\ufffderes Mic"
    with pytest.raises(SourceError, match=r'no input device "piano"; there are: .*6 \ufffdu\ufffderes Mic'):
        Microphone("piano")
    sound = np.zeros(10, np.float32)
    with pytest.raises(SourceError, match='"Geh\ufffduse" does not play at 44100 Hz'):
        Speaker(sound, 44100, "geh")
    with pytest.raises(SourceError, match='no output device "piano"; there are: 0 HDA Speakers, 7 Geh\ufffduse'):
        Speaker(sound, 44100, "piano")
    with pytest.raises(SourceError, match='"HDA Speakers" does not play'):  # the first, where the system names none
        Speaker(sound, 44100)
    portaudio.devices = portaudio.devices[1:2]
    with pytest.raises(SourceError, match="no output device: plug one in"):
        Speaker(sound, 44100)


def test_no_default_device_takes_the_first_and_no_device_is_told(portaudio: PortAudio) -> None:
    portaudio.default = None
    with Microphone() as source:
        assert source.name == "HDA Mic"
    portaudio.devices = portaudio.devices[:1]
    with pytest.raises(SourceError, match="no input device: plug one in"):
        Microphone()


def test_missing_portaudio_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    for ask in (Microphone, list_devices):
        with pytest.raises(SourceError, match=r'apt-get install portaudio19-dev, then pip install "\.\[mic\]"'):
            ask()


def test_samples_arrive_averaged_and_losses_where_they_were(portaudio: PortAudio) -> None:
    with Microphone("HDA") as source:
        stream = portaudio.streams[-1]
        out = np.empty(1 << 19, np.float32)
        assert source.read(out, 0.0) == Read(0)
        frames = np.random.default_rng(2).uniform(-1, 1, (256, 2))
        stream.hear(frames)
        assert source.read(out, 0.0) == Read(256)
        np.testing.assert_allclose(out[:256], frames.mean(axis=1), atol=1e-6)
        for _ in range(2):
            stream.hear(np.zeros((1 << 18, 2)))  # 5.5 s at once: more than it keeps
        read = source.read(out, 0.0)
        stream.hear(frames, status=PortAudio.paInputOverflow)
        after = source.read(out, 0.0)
        assert read.count + after.lost_before == 1 << 19
        assert after.lost_before > 0
        assert after.count == 256
        assert source.overflows == 1


def test_a_callback_wakes_the_reader_and_so_does_closing(portaudio: PortAudio) -> None:
    source, reads = Microphone("HDA"), []
    stream = portaudio.streams[-1]
    for act in (lambda: stream.hear(np.zeros((256, 2))), source.close):
        reader = threading.Thread(target=lambda: reads.append(source.read(np.empty(512, np.float32), 1e6)))
        reader.start()
        act()
        reader.join(60)
        assert not reader.is_alive()
    assert reads == [Read(256), Read(0, ended=True)]
    source.close()


def test_a_device_that_stops_is_told(portaudio: PortAudio) -> None:
    with Microphone("HDA") as source:
        portaudio.streams[-1].active = False
        with pytest.raises(SourceError, match='"HDA Mic" stopped: unplugged'):
            source.read(np.empty(10, np.float32), 60)


def test_a_device_that_stalls_is_told(portaudio: PortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr("dance.microphone.monotonic", lambda: now)
    monkeypatch.setattr("dance.microphone._CHECK_SECONDS", 0.001)
    with Microphone("HDA") as source:
        out = np.empty(512, np.float32)
        now += 4.9  # the first callback may take its time
        source._check()
        portaudio.streams[-1].hear(np.zeros((256, 2)))
        assert source.read(out, 60) == Read(256)
        now += 1.9
        source._check()
        now += 0.2
        with pytest.raises(SourceError, match='"HDA Mic" sends nothing any more'):
            source.read(out, 60)


def test_only_the_chatter_of_the_libraries_is_dropped() -> None:
    code = """if True:
        import os, sys
        sys.path.insert(0, "engine/tests")
        import test_sources
        class Chatty(test_sources.PortAudio):
            def get_device_count(self): return 0
            def PyAudio(self): os.write(2, b"ALSA lib chatter"); return self
        sys.modules["pyaudio"] = Chatty()
        import dance
        try:
            dance.Microphone()
        except dance.SourceError:
            os.write(2, b"real")
    """
    assert run("-c", code).stderr == "real"
