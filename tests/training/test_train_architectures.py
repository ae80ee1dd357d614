"""Architectures of timm that are unlike those of the recipes: several heads, odd ones, fixed sizes, no rates."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
timm = pytest.importorskip("timm", reason="needs the extra 'train'")

from safetensors.torch import load_file, save_file

from flowercli.errors import ConfigError, WeightsError
from flowercli.export.graph import OPSET
from flowercli.inference.preprocess import PreprocessSpec
from flowercli.training.architecture import try_out
from flowercli.training.config import compose_config
from flowercli.training.convolutions import Skipping, avoid_strided_pointwise
from flowercli.training.learner import Learner
from flowercli.training.model import PixelClassifier, create_backbone, resolved_cfg
from flowercli.training.save import without_ties

CLASSES = 3
# A convolution as head; two heads with batch normalisation; one for each of its features; one for its patches besides;
# a head that is no linear layer; positions that are learnt for one size.
KINDS = ("dla46x_c", "levit_128s", "crossvit_tiny_240", "swiftformer_xs", "repvit_m0_9", "test_vit")
BASE = ("model.pretrained=false", "loss=ce", "batch_size=2", "precision=fp32", "device=cpu")


def made(name, *overrides):
    config = compose_config([f"model.name={name}", *BASE, *overrides])
    torch.manual_seed(0)
    backbone = create_backbone(config.model, CLASSES)
    model = PixelClassifier(backbone, resolved_cfg(backbone, config.model, CLASSES))
    try_out(model, config)
    return model, config


def pixels_for(model):
    return torch.randint(0, 256, (2, 3, *model.input_size), dtype=torch.uint8)


@pytest.mark.parametrize("name", KINDS)
def test_learns_answers_as_timm_does_and_keeps_classes(name):
    model, config = made(name)
    pixels = pixels_for(model)
    learner = Learner(config, model, [], [2] * CLASSES, 1, print)
    learner.start_epoch(1)
    before = [parameter.detach().clone() for parameter in model.new_parameters()]
    assert learner.update(pixels, torch.tensor([0, 2]), 1, 1) > 0
    assert all(not torch.equal(*pair) for pair in zip(before, model.new_parameters(), strict=True))
    model.eval()
    with torch.inference_mode():
        logits, embedding = model(pixels)
        assert embedding.shape == (2, model.embedding_size)
        assert torch.allclose(logits, model.backbone(model.normalised(pixels)), atol=1e-4)
    model.keep_classes([2, 0])
    with torch.inference_mode():
        assert torch.allclose(model(pixels)[0], logits[:, [2, 0]], atol=1e-4)


def test_classes_are_taken_over_by_every_layer_of_a_head():
    (model, _), (earlier, _) = made("levit_128s"), made("levit_128s")
    for layer in (earlier.backbone.head, earlier.backbone.head_dist):
        torch.nn.init.normal_(layer.linear.weight)
    model.take_over(earlier, ["a", "b", "c"], ["c", "d", "a"])
    for name in ("head", "head_dist"):
        ours, theirs = (getattr(each.backbone, name).linear.weight for each in (model, earlier))
        assert torch.equal(ours[[0, 2]], theirs[[2, 0]])


@pytest.mark.parametrize("name", ["convnext_base.fb_in22k_ft_in1k_384", "deepseek_vit_412m.deepseek_v4_1_flash"])
def test_what_was_pretrained_on_squashed_or_padded_pictures_is_asked_about_cut_ones(name):
    said = timm.get_pretrained_cfg(name)
    assert said.crop_mode in ("squash", "border")
    config = compose_config([f"model.name={name}", *BASE]).model
    spec = PreprocessSpec.from_pretrained_cfg(
        resolved_cfg(SimpleNamespace(pretrained_cfg=said.to_dict()), config, CLASSES)
    )
    assert (spec.height, spec.width) == said.input_size[1:]


@pytest.mark.slow
def test_a_head_that_is_no_linear_layer_is_exported():
    import io

    import onnxruntime

    model, _ = made("dla46x_c", "model.image_size=64")
    model.eval()
    buffer = io.BytesIO()
    example = torch.rand(2, 3, 64, 64)
    program = torch.onnx.export(model, (example,), dynamo=True, opset_version=OPSET, verbose=False)
    program.save(buffer)
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    answers = session.run(None, {session.get_inputs()[0].name: example.numpy()})
    with torch.inference_mode():
        for ours, theirs in zip(answers, model(example), strict=True):
            assert np.allclose(ours, theirs.numpy(), atol=1e-4)


def test_pretrained_positions_are_fitted_to_another_size_also_when_timm_loads_them(tmp_path):
    save_file(timm.create_model("test_vit", num_classes=CLASSES).state_dict(), tmp_path / "vit.safetensors")
    model, config = made("test_vit", f"model.weights={tmp_path / 'vit.safetensors'}", "model.image_size=96")
    assert model.backbone.pos_embed.shape[1] == (96 // 16) ** 2 + 1
    cfg = resolved_cfg(model.backbone, config.model, CLASSES)
    assert cfg["fixed_input_size"] is True
    again = timm.create_model("test_vit", num_classes=CLASSES, pretrained_cfg=cfg)
    assert again.pos_embed.shape == model.backbone.pos_embed.shape


@pytest.mark.parametrize(
    ("name", "overrides", "words", "hint"),
    [
        ("dla46x_c", ["model.drop_path_rate=0.1"], "dla46x_c has no drop_path_rate.", "model.drop_path_rate=0"),
        ("levit_128s", ["augment.image_size=160"], "levit_128s does not take pictures of 160x160", "image_size=null"),
        ("maxvit_rmlp_pico_rw_256", ["model.image_size=100"], "100x100 pixels: height (25) must be", "own are of 256"),
        (
            "nest_tiny",
            ["model.image_size=100"],
            "nest_tiny cannot be built for pictures of 100 pixels",
            "image_size=null",
        ),
        ("mobilenetv5_300m_enc", [], "mobilenetv5_300m_enc is no classifier", "--model NAME"),
        ("resnet18.nonsense", [], "timm knows no weights 'nonsense' of resnet18", "It knows resnet18.a1_in1k"),
    ],
)
def test_what_an_architecture_does_not_take_is_the_reason_that_is_told(name, overrides, words, hint):
    with pytest.raises((ConfigError, WeightsError)) as told:
        made(name, *overrides)
    assert words in told.value.message
    assert hint in told.value.hint
    assert "ImageNet" not in told.value.message


def test_layers_that_are_used_under_two_names_are_written(tmp_path):
    state = made("coat_tiny", "model.image_size=64")[0].backbone.state_dict()
    save_file(without_ties(state), tmp_path / "model.safetensors")
    read = load_file(tmp_path / "model.safetensors")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


STRIDED = """
import torch
from flowercli.training.convolutions import avoid_strided_pointwise
convolution = torch.nn.Conv2d(13, 48, 1, 2).to(memory_format=torch.channels_last)
avoid_strided_pointwise(convolution)
for _ in range(3):
    pixels = torch.randn(4, 13, 112, 112).contiguous(memory_format=torch.channels_last).requires_grad_()
    convolution(pixels).sum().backward()
print("alive")
"""


def test_the_backward_pass_of_a_strided_pixel_convolution_does_not_end_the_process():
    done = subprocess.run([sys.executable, "-c", STRIDED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_convolutions_that_skip_pixels_first_are_the_same():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(8, 20, 1, (2, 1)), torch.nn.Conv2d(20, 4, 1, 2))
    pixels = torch.randn(2, 8, 9, 9)
    before = network(pixels)
    avoid_strided_pointwise(network)
    assert [isinstance(layer, Skipping) for layer in network] == [True, False]
    assert torch.allclose(network(pixels), before, atol=1e-6)
