"""Every architecture is causal and gives the same result however the stream is cut."""

import pytest

torch = pytest.importorskip("torch")

from models import ARCHITECTURES, build  # noqa: E402
from models.ensemble import Ensemble  # noqa: E402
from models.frontend import Frontend  # noqa: E402

SMALL = {"bands": 12, "labels": 3, "channels": 8}


@pytest.fixture(params=[*sorted(ARCHITECTURES), "ensemble"])
def network(request):
    torch.manual_seed(1)
    members = {"members": [{"architecture": name} for name in ("tcn", "gru")]} if request.param == "ensemble" else {}
    net = build(request.param, **SMALL, **members)
    net.train()
    for _ in range(3):  # batch statistics that differ from the identity
        net(frames(4, 40), net.init_state(4))
    return net.eval()


def frames(batch, time):
    return torch.randn(batch, time, SMALL["bands"]) * 15 - 60


def test_steps_equal_the_whole(network):
    x = frames(2, 50)
    with torch.no_grad():
        logits, velocity, _ = network(x, network.init_state(2))
        state = network.init_state(2)
        for t in range(50):
            onset, hardness, state = network.step(x[:, t], state)
            torch.testing.assert_close(onset, torch.sigmoid(logits[:, t]), atol=2e-6, rtol=0)
            torch.testing.assert_close(hardness, velocity[:, t], atol=2e-6, rtol=0)


def test_future_does_not_matter(network):
    x = frames(1, 40)
    y = x.clone()
    y[:, 25:] += 30
    with torch.no_grad():
        a = network(x, network.init_state(1))[0]
        b = network(y, network.init_state(1))[0]
    torch.testing.assert_close(a[:, :25], b[:, :25], atol=1e-6, rtol=0)
    assert (a[:, 25:] - b[:, 25:]).abs().max() > 1e-4


def test_state_is_zero_and_fixed_in_shape(network):
    state = network.init_state(1)
    assert all((s == 0).all() for s in state)
    following = network.step(frames(1, 1)[:, 0], state)[2]
    assert [s.shape for s in following] == [s.shape for s in state]


def test_outputs_are_probabilities(network):
    onset, velocity, _ = network.step(frames(1, 1)[:, 0] + 200, network.init_state(1))
    assert onset.shape == velocity.shape == (1, SMALL["labels"])
    for values in (onset, velocity):
        assert ((values >= 0) & (values <= 1)).all()


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown architecture"):
        build("oracle")
    with pytest.raises(ValueError, match="tcn"):
        build("tcn", heads=3)


def test_an_ensemble_answers_with_the_mean(network):
    members = [build("tcn", **SMALL).eval(), network]
    both = Ensemble(members)
    x = frames(1, 30)
    with torch.no_grad():
        onset = torch.sigmoid(both(x, both.init_state())[0])
        each = [torch.sigmoid(member(x, member.init_state())[0]) for member in members]
    torch.testing.assert_close(onset, sum(each) / 2, atol=1e-6, rtol=0)
    assert (each[0] - each[1]).abs().max() > 1e-3


def test_members_of_other_bands_are_refused():
    members = [{"architecture": "tcn", "bands": bands} for bands in (12, 16)]
    with pytest.raises(ValueError, match="same bands"):
        build("ensemble", members=members)


def test_the_mean_level_is_that_of_all_frames_while_a_stream_is_young():
    frontend = Frontend(4, mean_frames=200.0)
    steady = torch.full((1, 30, 4), -40.0)
    inputs, _ = frontend(steady, frontend.init_state(1))
    torch.testing.assert_close(inputs[:, :, 8:], torch.zeros(1, 30, 4), atol=1e-5, rtol=0)
    long = torch.cat([torch.full((1, 2000, 4), -70.0), steady.repeat(1, 30, 1)], dim=1)
    late, _ = frontend(long, frontend.init_state(1))
    assert late[0, 2000, 8] > 0.9  # 30 dB above what was
    assert late[0, -1, 8] < 0.05  # forgotten: 900 frames are more than four time constants


def test_the_frontend_tells_nothing_apart_far_below_the_loudest_band_of_late():
    frontend = Frontend(4, mean_frames=200.0, depth_db=50.0)
    loud, quiet = torch.tensor([[[-20.0, -65, -75, -100]]]), torch.tensor([[[-90.0, -80, -75, -100]]])
    inputs, state = frontend(loud, frontend.init_state(1))
    torch.testing.assert_close(30 * inputs[0, 0, :4] - 100, torch.tensor([-20.0, -65, -70, -70]))
    following, _ = frontend(quiet.repeat(1, 400, 1), state)
    floor = (30 * following[0, :, :4] - 100).amin(1)
    assert floor[0] == pytest.approx(-70.05, abs=0.01)
    assert floor[-1] == pytest.approx(-90, abs=0.01)  # 5 dB a second


def test_a_floor_that_rises_is_no_attack_and_not_without_end():
    frontend = Frontend(4, mean_frames=200.0, depth_db=50.0)
    swell = torch.full((1, 60, 4), -100.0)
    swell[:, :, 0] = torch.arange(-60.0, 60.0, 2.0)
    inputs, state = frontend(swell, frontend.init_state(1))
    assert inputs[0, 1:, 4].min() > 0  # the band that swells
    assert not inputs[0, :, 5:8].any()
    assert 30 * inputs[0, -1, 1] - 100 == pytest.approx(-50)  # below full scale
    following, _ = frontend(torch.full((1, 1, 4), -60.0), state)
    assert not following[0, :, 5:8].any()  # from silence to what is masked


@pytest.mark.parametrize("piece", [1, 7])
def test_the_floor_is_the_same_in_any_pieces(piece):
    frontend, frames = Frontend(12, 200.0, 50.0), 20 * torch.randn(2, 84, 12, generator=torch.manual_seed(0)) - 50
    whole, state, parts = frontend(frames, frontend.init_state(2))[0], frontend.init_state(2), []
    for start in range(0, 84, piece):
        inputs, state = frontend(frames[:, start : start + piece], state)
        parts.append(inputs)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-4, rtol=0)
