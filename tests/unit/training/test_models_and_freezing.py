"""The registry of networks: build, forward, heads, stages, pretrained weights."""

from pathlib import Path

import pytest
import torch
from torch import nn

from drydock.contract import Tree
from drydock.errors import UserError
from drydock.hyperparameters import Freeze, Hyperparameters
from drydock.models import MODELS, architecture, load_backbone
from drydock.training.freezing import freeze
from drydock.training.optimisation import lr_factor, make_optimizer, parameter_groups
from drydock.training.pretrained import find_weights, load_pretrained, read_weights


@pytest.fixture(scope="module", params=MODELS)
def built(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    return request.param, MODELS[request.param].build(7)


def test_a_network_gives_a_logit_per_class(built: tuple[str, nn.Module]) -> None:
    """Two small images give [2, classes] logits."""
    name, model = built
    with torch.inference_mode():
        assert model.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 7), name


def test_stages_and_head_hold_every_parameter_once(built: tuple[str, nn.Module]) -> None:
    """`freeze` can reach each weight, in exactly one stage."""
    name, model = built
    paths = [path for stage in MODELS[name].stages for path in stage] + [MODELS[name].head]
    held = [id(parameter) for path in paths for parameter in model.get_submodule(path).parameters()]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


def test_a_head_of_another_size_is_left_and_an_equal_one_taken(built: tuple[str, nn.Module]) -> None:
    """The backbone is loaded strictly; the head only where it has as many classes."""
    name, model = built
    head = MODELS[name].head + "."
    for classes, taken in ((7, True), (3, False)):
        fresh = MODELS[name].build(classes)
        assert load_backbone(name, fresh, model.state_dict(), source="test") is taken
        state = fresh.state_dict()
        assert all(
            torch.equal(state[key], tensor)
            for key, tensor in model.state_dict().items()
            if taken or not key.startswith(head)
        )


def test_weights_of_another_architecture_are_refused() -> None:
    """The message names the source, the architecture and what does not fit."""
    weights = MODELS["resnet34"].build(2).state_dict()
    with pytest.raises(
        UserError, match=r"w\.pth does not fit arch=resnet18: it has \d+ that it does not know"
    ):
        load_backbone("resnet18", MODELS["resnet18"].build(2), weights, source="w.pth")
    with pytest.raises(UserError, match="unknown architecture vgg"):
        architecture("vgg")


@pytest.mark.parametrize(
    ("setting", "trained"),
    [
        ("none", {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}),
        ("backbone", {"fc"}),
        ("2", {"layer3", "layer4", "fc"}),
        ("5", {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}),
    ],
)
def test_freeze_leaves_the_last_stages(setting: str, trained: set[str]) -> None:
    """none, backbone and a number of stages train what they say."""
    model = MODELS["resnet18"].build(3)
    freeze(model, "resnet18", Freeze.from_string(setting))
    assert {name.split(".")[0] for name, value in model.named_parameters() if value.requires_grad} == trained


def test_frozen_batch_normalisation_keeps_its_statistics() -> None:
    """A training step moves neither weights nor running statistics of frozen stages."""
    model = MODELS["small_cnn"].build(3)
    frozen = freeze(model, "small_cnn", Freeze.from_string("1"))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    frozen.train(model)
    optimizer = make_optimizer(model, Hyperparameters(optimizer="sgd"))
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert {key.split(".")[0] + key.split(".")[1] for key in changed} == {"stages3", "headweight", "headbias"}


def test_more_stages_than_there_are_is_refused() -> None:
    """The message says how many there are."""
    with pytest.raises(UserError, match="freeze=9: resnet18 has 5 stages"):
        freeze(MODELS["resnet18"].build(2), "resnet18", Freeze.from_string("9"))


def test_biases_and_normalisation_have_no_decay() -> None:
    """Vectors are in the group without weight decay, each trained parameter in one group."""
    model = MODELS["small_cnn"].build(3)
    decayed, plain = parameter_groups(model, 0.1)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])  # type: ignore[attr-defined]  # a list
    assert len(decayed["params"]) + len(plain["params"]) == len(list(model.parameters()))  # type: ignore[arg-type]
    assert plain["weight_decay"] == 0


def test_the_learning_rate_climbs_then_falls_to_zero() -> None:
    """Linear warm-up, full rate after it, half at half of the rest, near zero at the end."""
    factors = [lr_factor(step, steps=110, warmup=10, schedule="cosine") for step in range(111)]
    assert factors[:10] == sorted(factors[:10])
    assert factors[10] == 1
    assert factors[60] == pytest.approx(0.5)
    assert factors[110] == pytest.approx(0)
    assert lr_factor(100, steps=110, warmup=10, schedule="constant") == 1


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mobilenet_v2", "mobilenet_v2-ptq.pth"),
        ("squeezenet1_0", "squeezenet1_0-deepcompression-torchvision.pth"),
    ],
)
def test_real_weights_load_strictly(shared_data: Path, tmp_path: Path, name: str, file: str) -> None:
    """Published ImageNet weights in the channel `pretrained` fill the whole backbone."""
    folder = tmp_path / "input" / "data" / "pretrained"
    folder.mkdir(parents=True)
    (folder / file).symlink_to(shared_data / "weights" / file)
    model = MODELS[name].build(5)
    words = load_pretrained(model, name, "auto", Tree(base=tmp_path))
    assert words == f"{file} (without its head)"
    loaded = read_weights(folder / file)
    assert all(
        torch.equal(value, loaded[key])
        for key, value in model.state_dict().items()
        if not key.startswith(MODELS[name].head) and key in loaded
    )


def test_the_channel_pretrained_must_hold_one_plain_weight_file(tmp_path: Path) -> None:
    """No file, two files, and a pickle that would run code are refused with the channel's name."""
    with pytest.raises(UserError, match=r"channel pretrained: .* has no weight file"):
        find_weights(tmp_path)
    torch.save(nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth cannot be read as a plain state dict"):
        read_weights(find_weights(tmp_path))
    (tmp_path / "b.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"has 2 weight files \(a\.pth, b\.pt\)"):
        find_weights(tmp_path)


def test_a_wrapped_state_dict_is_unwrapped(tmp_path: Path) -> None:
    """`state_dict` of a checkpoint and the `module.` of DataParallel are understood."""
    torch.save({"epoch": 3, "state_dict": {"module.fc.bias": torch.ones(2)}}, tmp_path / "a.pth")
    assert list(read_weights(tmp_path / "a.pth")) == ["fc.bias"]


def test_there_is_no_imagenet_for_the_small_network(tmp_path: Path) -> None:
    """pretrained=imagenet with small_cnn says what to use instead."""
    with pytest.raises(UserError, match="no ImageNet weights for arch=small_cnn: use pretrained=none"):
        load_pretrained(MODELS["small_cnn"].build(2), "small_cnn", "imagenet", Tree(base=tmp_path))
