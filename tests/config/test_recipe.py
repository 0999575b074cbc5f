"""Recipes: what is read, what is refused, and in which words."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import asdict
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from lentigo.config import list_recipes, load_recipe, parse_recipe, recipe_names, recipe_schema, to_yaml
from lentigo.config.plain import parse_yaml
from lentigo.config.recipe import Recipe, recipe_differences
from lentigo.errors import RecipeError
from lentigo.networks import network_names
from lentigo.training.schedule import Patience, rate_factor


@pytest.mark.parametrize("name", recipe_names())
def test_packaged_recipes_are_complete(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert recipe.network.name in network_names()
    assert recipe.sizes[-1].from_epoch < recipe.epochs


def test_list_names_every_recipe() -> None:
    assert [row["recipe"] for row in list_recipes()] == recipe_names()
    assert {"caco-ham10000", "caco-ham10000-cpu", "phantom-demo"} <= set(recipe_names())


def test_paper_recipe_is_as_printed() -> None:
    recipe = load_recipe("caco-ham10000")
    assert (recipe.epochs, recipe.batch) == (100, 128)
    assert (recipe.optimiser.name, recipe.optimiser.lr, recipe.optimiser.weight_decay) == ("adamw", 5e-4, 5e-2)
    assert recipe.optimiser.decay_norm_and_bias
    assert (recipe.schedule.name, recipe.schedule.warmup) == ("constant", 0)
    assert (recipe.network.name, recipe.network.pretrained) == ("mobilenetv3_small_caco", "imagenet")
    assert (recipe.loss.name, recipe.loss.gamma, recipe.loss.alpha, recipe.loss.max_margin) == ("joint", 2.0, 0.5, 0.5)
    assert recipe.data.fractions == (0.8, 0.1, 0.1)
    assert (recipe.ema, recipe.sampling, recipe.clip, recipe.stop.patience) == (0, 0, 0, None)
    augment = recipe.augment
    assert min(augment.flip_horizontal, augment.flip_vertical, augment.quarter_turns) > 0
    assert augment.scale != (1, 1)
    assert augment.colour.brightness > 0


def test_resolved_recipe_reads_back_the_same(tmp_path: Path) -> None:
    recipe = load_recipe("caco-ham10000-cpu", ["data.folds=5", "data.fold=2", "stop.patience=3"])
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe
    assert set(Recipe.model_fields) == {
        line.split(":")[0] for line in to_yaml(recipe).splitlines() if line[0].isalpha()
    }


def test_overrides_are_yaml_with_dots() -> None:
    recipe = load_recipe(
        "caco-ham10000",
        [
            "optimiser.lr=2e-4",
            "network.options.start=random",
            "sizes.0.size=64",
            "augment.colour.hue=0",
            "precision=32",
            "stop.patience=null",
        ],
    )
    assert recipe.optimiser.lr == 2e-4
    assert recipe.network.options == {"start": "random"}
    assert recipe.size_at(0) == 64
    assert recipe.augment.colour.hue == 0
    assert recipe.precision == "32"
    assert recipe_differences(recipe, load_recipe("caco-ham10000")) == [
        "augment.colour.hue",
        "network.options.start",
        "optimiser.lr",
        "sizes",
    ]


def test_keys_of_the_release_before_are_taken() -> None:
    former = {"name": "x", "augment": {"colour": {"cast": 0.1}, "degrade": {"share": 0.2}}}
    recipe = parse_recipe(former)
    assert recipe.augment.colour.channels == 0.1
    assert recipe.augment.degrade.probability == 0.2
    assert load_recipe("isic-3", ["augment.colour.cast=0"]).augment.colour.channels == 0
    assert "share" not in to_yaml(recipe)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("epocs=3", ["'epocs'", "did you mean 'epochs'"]),
        ("lr=1", ["'lr'", "did you mean 'optimiser.lr'"]),
        ("optimiser.nesterov=1", ["'optimiser.nesterov'", "known in optimiser", "weight_decay"]),
        ("augment.color.hue=0", ["did you mean 'augment.colour'"]),
        ("sizes.0.sise=3", ["did you mean 'sizes.0.size'"]),
        ("loss.name=jont", ["loss.name", "did you mean 'joint'"]),
        ("optimiser.lr=fast", ["optimiser.lr", "valid number", "'fast'"]),
        ("optimiser.lr=0", ["optimiser.lr", "greater than 0"]),
        ("epochs=ten", ["epochs", "valid integer"]),
        ("data=3", ["data", "valid dictionary"]),
        ("data.fractions=[.8, .1, .2]", ["data", "add up to 1"]),
        ("sizes=[{from_epoch: 2, size: 64}]", ["sizes", "begin with 0"]),
        ("augment.scale=[2, 1]", ["augment.scale", "[smallest, largest]"]),
    ],
)
def test_bad_values_are_named_on_one_line(override: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("caco-ham10000", [override])
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("caco-ham10000: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize("override", ["epochs", "=3", "epochs=[", "sizes.9.size=3", "epochs.x=3", "network.name.x=3"])
def test_override_that_is_none(override: str) -> None:
    with pytest.raises(RecipeError, match="override"):
        load_recipe("caco-ham10000", [override])


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'caco-ham10000-cpu'"):
        load_recipe("caco-ham1000-cpu")


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"missing\.yaml: cannot be read"):
        load_recipe(tmp_path / "missing.yaml")
    for text, words in (("a: [", "not valid YAML"), ("- a", "mapping"), ("epocs: 3", "did you mean 'epochs'")):
        path = tmp_path / "bad.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RecipeError, match=words) as caught:
            load_recipe(path)
        assert str(path) in str(caught.value)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "more than 20,000 values"),
        ("a: &a [*a]", "an alias that holds itself"),
        ("a: " + "[" * 40 + "]" * 40, "nested more than 32 deep"),
        ("a: " + "[" * 30_000 + "]" * 30_000, "nested too deeply"),
        ("epochs: " + "9" * 5_000, "a number of 5,000 digits"),
        ("epochs: 1" + ":1" * 5_000, "a number of 10,001 digits"),
        ("epochs: " + "9" * 50, "a number of more than 63 bits"),
        ("network: {options: {dropout: .nan}}", "no number here"),
        ("network: {options: {dropout: .inf}}", "no number here"),
        ("seed: 2001-99-99", "not valid YAML"),
        ("a: !!python/object/apply:os.system [true]", "not valid YAML"),
        ("#" * 300_000, "more than 0.0625 MiB"),
        ("a: {b: 1, c: 2, b: 3}", "'b' appears twice"),
        ("a: &a {b: 1}\nc: {<<: [" + "*a, " * 20 + "*a]}", "more than 16 mappings merged"),
        ("a: \x1b[2J", "not valid YAML"),
    ],
)
def test_recipes_that_would_cost_too_much_are_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=words):
        load_recipe(path)
    if len(text) < 200_000:
        with pytest.raises(RecipeError, match=words):
            load_recipe("caco-ham10000", [f"network.options=\n{text}"])


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes as files there")
def test_a_pipe_is_no_recipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(RecipeError, match="not a regular file"):
        load_recipe(tmp_path / "pipe.yaml")


def test_aliases_may_be_used(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: &n 3\nstop: {patience: *n}\n", encoding="utf-8")
    assert load_recipe(path).stop.patience == 3


def test_a_merge_gives_way_to_what_stands_beside_it() -> None:
    text = "deep: {deeper: {a: &a {<<: &z {k: 1, m: 1}, k: 2}}}\nb: {<<: *a, m: 3}"
    assert parse_yaml(text, "it")["b"]["m"] == 3


def test_the_schema_takes_what_the_reader_takes() -> None:
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for name in recipe_names():
        validator.validate(
            yaml.safe_load(files("lentigo").joinpath("recipes", f"{name}.yaml").read_text(encoding="utf-8"))
        )
        validator.validate(load_recipe(name).model_dump(mode="json"))
    for bad in (
        {"epocs": 3},
        {"epochs": 0},
        {"precision": "64"},
        {"optimiser": {"lr": "fast"}},
        {"data": {"fractions": [0.8]}},
    ):
        assert not validator.is_valid(bad), bad
    assert schema["properties"]["clip"]["description"].startswith("largest gradient norm")
    assert all("description" in value for value in schema["$defs"]["OptimiserRecipe"]["properties"].values())


def test_file_name_stands_in_for_a_missing_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 2\n", encoding="utf-8")
    assert load_recipe(path).name == "mine"


def test_size_follows_the_stages() -> None:
    recipe = parse_recipe(
        {"name": "x", "epochs": 5, "sizes": [{"from_epoch": 0, "size": 32}, {"from_epoch": 3, "size": 64}]}
    )
    assert [recipe.size_at(epoch) for epoch in range(5)] == [32, 32, 32, 64, 64]
    assert recipe.final_size == 64


def test_weights_come_from_recipe_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def weights(pretrained: str) -> object:
        return parse_recipe({"name": "x", "network": {"pretrained": pretrained}}).network.weights()

    monkeypatch.delenv("LENTIGO_WEIGHTS", raising=False)
    assert weights("none") is None
    assert weights("imagenet") == "imagenet"
    assert weights("some/file.pt") == Path("some/file.pt")
    monkeypatch.setenv("LENTIGO_WEIGHTS", "elsewhere.pt")
    assert weights("imagenet") == Path("elsewhere.pt")
    assert weights("none") is None
    assert weights("some/file.pt") == Path("some/file.pt")


def test_schedules() -> None:
    def rates(**schedule: object) -> list[float]:
        recipe = parse_recipe({"name": "x", "schedule": schedule})
        return [rate_factor(recipe.schedule, step, steps=10, epochs=4) for step in range(40)]

    assert rates(name="constant") == [1.0] * 40
    cosine = rates(name="cosine", warmup=1, final=0.1)
    assert cosine[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert cosine[10] == 1
    assert cosine[10:] == sorted(cosine[10:], reverse=True)
    assert cosine[25] == pytest.approx(0.55)
    assert cosine[39] == pytest.approx(0.1, abs=0.01)
    cycles = rates(name="cosine", warmup=0.5, restarts=[1, 3], restart_factor=0.5)
    assert cycles[:10] == pytest.approx(
        [min(1, (i + 1) / 6) if i < 5 else (1 + np.cos(np.pi * (i - 5) / 5)) / 2 for i in range(10)]
    )
    assert cycles[10:15] == pytest.approx([(i + 1) / 12 for i in range(5)])  # a second cycle, of half the peak
    assert (cycles[15], cycles[35]) == (0.5, 0.25)
    assert cycles[30:] == pytest.approx([rate / 4 for rate in cycles[:10]])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schedule": {"restarts": [2, 2]}}, "must rise and lie below epochs (4)"),
        ({"schedule": {"restarts": [4]}}, "must rise and lie below epochs (4)"),
        ({"swa": True}, "swa averages over schedule.restarts"),
        ({"monitor": "last", "schedule": {"name": "plateau"}}, "last keeps the last epoch, and takes no plateau"),
        ({"monitor": "last", "stop": {"patience": 2}}, "takes no plateau schedule and no stop.patience"),
        ({"swa": True, "schedule": {"restarts": [2]}, "stop": {"patience": 2}}, "takes no stop.patience"),
    ],
)
def test_cycles_that_cannot_be(changes: dict[str, object], told: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(told)):
        parse_recipe({"name": "x", "epochs": 4} | changes)


def test_patience_counts_epochs_without_better() -> None:
    patience = Patience(lowest_is_best=True)
    assert [patience.update(v) for v in (3.0, 2.0, 2.0, float("nan"))] == [True, True, False, False]
    assert (patience.best, patience.waited) == (2.0, 2)
    again = Patience(**asdict(patience))
    assert again == patience
    again.reset()
    assert again.update(5.0)
    assert [Patience(lowest_is_best=False, best=0.5).update(v) for v in (0.4, 0.6)] == [False, True]
