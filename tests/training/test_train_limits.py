"""Values that a training configuration, or an option that is a number, cannot have: told in a second."""

from __future__ import annotations

import pytest
import typer

from flowercli.cli.app import build

pytest.importorskip("torch", reason="needs the extra 'train'")

from flowercli.errors import ConfigError
from flowercli.training.config import as_dict, compose_config
from flowercli.training.limits import Numbers, Range
from flowercli.training.schema import known_keys


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("augment.scale=[0.5]", "augment.scale=[0.5]: 2 numbers from 0.01 to 1, the smaller one first"),
        ("augment.scale=[1.0,0.2]", "the smaller one first"),
        ("augment.scale=[0.0,1.0]", "from 0.01 to 1"),
        ("augment.scale=[0.2,2.0]", "from 0.01 to 1"),
        ("augment.ratio=[nan,1.0]", "from 0.1 to 10"),
        ("augment.ratio=[0.75,inf]", "from 0.1 to 10"),
        ("augment.ratio=[]", "2 numbers"),
        ("data.ratios=[0.9,0.1]", "3 numbers from 0 to 1, together 1"),
        ("data.ratios=[0.9,0.9,0.9]", "together 1"),
        ("data.ratios=[1.5,-0.5,0.0]", "from 0 to 1"),
        ("augment.auto_augment=rnd-m9", "it begins with one of rand, augmix"),
        ("augment.auto_augment=rand-mfast", "'mfast' is none of m, n, p"),
        ("augment.auto_augment=rand-x5", "'x5' is none of"),
        ("augment.auto_augment=rand-m99", "'m99': a whole number from 0 to 10"),
        ("augment.auto_augment=rand-n0", "'n0'"),
        ("augment.auto_augment=rand-p2", "'p2': a number from 0 to 1"),
        ("augment.auto_augment=augmix-w0", "'w0'"),
        ("augment.auto_augment=v0-m5", "'m5' is none of mstd"),
        ("augment.auto_augment=''", "it begins with"),
        ("optim.weight_decay=inf", "optim.weight_decay=inf: a finite number, from 0"),
        ("optim.clip_grad_norm=inf", "inf: a finite number, at least 0"),
        ("checkpoint_minutes=inf", "inf: a finite number, at least 0"),
        ("loss.margin=nan", "loss.margin=nan"),
        ("optim.head_lr_scale=inf", "optim.head_lr_scale=inf"),
        ("num_workers=100000", "num_workers=100000: from 0 to 512"),
        ("model.name=''", "model.name: empty"),
        ("name=../elsewhere", "name=../elsewhere: the name of a folder in output"),
        ("name=..", "the name of a folder"),
    ],
)
def test_lists_texts_and_numbers_are_checked(override, words):
    with pytest.raises(ConfigError) as told:
        compose_config([override])
    assert words in told.value.message


@pytest.mark.parametrize(
    "policy",
    ["rand-m7-mstd0.5", "rand-m9-n3-p0.5-inc1-tweights", "augmix-m5-w4-d2-b1-a0.5", "original-mstd0.5", "v0r", "3a"],
)
def test_timms_grammar_is_taken_as_timm_takes_it(policy):
    from timm.data import create_transform

    assert compose_config([f"augment.auto_augment={policy}"]).augment.auto_augment == policy
    create_transform((3, 64, 64), is_training=True, auto_augment=policy)


def flat(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_every_number_of_the_configuration_has_limits():
    config = dict(flat(as_dict(compose_config(["model.image_size=224", "model.crop_pct=0.9", "micro_batch=8"]))))
    numbers = {key for key, value in config.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    lists = {key for key, value in config.items() if isinstance(value, list)} - {"distill.teacher"}
    limits = known_keys()
    assert config.keys() >= limits.keys() - {"recipe"}
    assert [key for key in numbers if not isinstance(limits[key], Range)] == []
    assert [key for key in lists if not isinstance(limits[key], Numbers)] == []


def number_options(command, path=()):
    """Yield the words of each command, and each of its options that takes a number with a fraction."""
    for name, each in getattr(command, "commands", {}).items():
        yield from number_options(each, (*path, name))
    for option in command.params:
        if option.type.name in {"float", "float range"}:
            yield *path, option.opts[0]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_no_option_takes_what_is_no_finite_number(run, value):
    options = [*number_options(typer.main.get_command(build()))]
    assert len(options) >= 10
    for *command, option in options:
        result = run(*command, f"{option}={value}")
        assert result.code == 2, (command, option)
        assert any(words in result.err for words in ("not a finite number", "is not in the range")), result.err
