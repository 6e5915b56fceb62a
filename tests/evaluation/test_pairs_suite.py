"""The suite ``pairs``: answers whose reading is known must be measured as such."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import lavin_deploy
from lavin_deploy.arrays import U8
from lavin_deploy.cli.eval import evaluate
from lavin_deploy.cli.export import export
from lavin_deploy.config import Inference, preset
from lavin_deploy.errors import InputError
from lavin_deploy.evaluation.pairs.episodes import Members, PairEpisode
from lavin_deploy.evaluation.pairs.evaluate import MOST_PAIRS
from lavin_deploy.evaluation.pairs.measure import (
    FLAT,
    INPUT,
    MODEL,
    OTHER,
    TARGET,
    UNION,
    WHOLE,
    measure_family,
)
from lavin_deploy.evaluation.pairs.report import PairsReport
from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Pairs, Style
from lavin_deploy.training.families.held_out_filters import HELD_OUT_FILTERS
from lavin_deploy.training.torch_answers import TorchAnswers
from tests.conftest import GOLDEN
from tests.helpers.checkpoints import write_released
from tests.helpers.toy_bundle import write_toy

STYLE = Style(foreground=(240, 30, 60), background=(0, 0, 0))
SIDE = 24


def squares(rng: np.random.Generator) -> tuple[U8, list[U8]]:
    """A bright and a grey square, which do not meet, and the mask of each."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    masks = []
    for number, level in enumerate((250, 120)):
        share = np.zeros((SIDE, SIDE), np.float32)
        y, x = rng.integers(0, 4, 2)
        share[y : y + 6, 12 * number + x : 12 * number + x + 6] = 1
        image[share > 0] = level
        masks.append(paint(share, STYLE.foreground, STYLE.background))
    return image, masks


def brighter(image: U8, by: int) -> U8:
    return np.asarray(np.clip(image.astype(int) + by, 0, 255), np.uint8)


class Squares:
    """Mark the bright square, or the grey one: whichever the pair's target covers."""

    families: Sequence[tuple[str, Members]] = (("squares", "held-out"), ("lighter", "held-out"))

    def count(self, family: str, members: Members) -> int | None:
        return 12

    def has_empty(self, family: str) -> bool:
        return family == "squares"

    def episode(
        self, family: str, members: Members, index: int, *, empty: bool = False
    ) -> PairEpisode:
        rng = np.random.default_rng((index, empty))
        asked = index % 2
        drawn = [squares(rng) for _ in range(MOST_PAIRS + 1)]
        *shown, (query, masks) = drawn
        if family == "lighter":
            change = (-60, -30)
            targets = [brighter(i, change[asked]) for i, _ in drawn]
            return PairEpisode(
                family=family,
                members=members,
                pairs=tuple(zip([i for i, _ in shown], targets[:-1], strict=True)),
                other=None,
                query=query,
                truth=targets[-1],
                other_truth=None,
                style=None,
                member=("by two steps", "by one")[asked],
            )
        if family == "sometimes":
            alone = index % 3 == 0
            return replace(
                self.episode("squares", members, index),
                other=None if alone else tuple((i, m[1 - asked]) for i, m in shown),
                known=None if alone else np.ones((SIDE, SIDE), bool),
            )
        if family == "hidden":  # nobody knows what the other one is
            episode = self.episode("squares", members, index)
            assert episode.union is not None
            return replace(episode, known=episode.mask(episode.truth) | ~episode.union)
        if family == "alone" and index % 3 == 0:
            shown_only = query == (250, 120)[asked]
            query = np.where(shown_only, query, 0).astype(np.uint8)
            masks[1 - asked] = np.zeros_like(query)
        if empty:
            query = np.where((query == (250, 120)[asked]).all(-1, keepdims=True), 0, query)
            query, masks = query.astype(np.uint8), [np.zeros_like(query)] * 2
        return PairEpisode(
            family=family,
            members=members,
            pairs=tuple((i, m[asked]) for i, m in shown),
            other=tuple((i, m[1 - asked]) for i, m in shown),
            query=query,
            truth=masks[asked],
            other_truth=masks[1 - asked],
            style=STYLE,
            union=(query > 0).any(axis=-1),
        )


def reader(pairs: Pairs, query: U8) -> U8:
    """Read the marked grey, or how much lighter the target is, off the first pair."""
    image, target = pairs[0]
    marked = (target == STYLE.foreground).all(axis=-1)
    if not marked.any():
        return brighter(query, int(target.max()) - int(image.max()))
    grey = image[marked][0]
    share = (query == grey).all(axis=-1).astype(np.float32)
    return paint(share, STYLE.foreground, STYLE.background)


def blind(pairs: Pairs, query: U8) -> U8:
    """Everything that is not black, whatever the pairs say."""
    share = (query > 0).any(axis=-1).astype(np.float32)
    return paint(share, STYLE.foreground, STYLE.background)


@pytest.mark.unit
def test_a_reader_is_better_than_every_control() -> None:
    result = measure_family("squares", "held-out", Squares(), reader, samples=12, counts=(1, 2, 4))
    assert result.unit == "IoU"
    assert result.rows[MODEL].mean == 1
    assert result.rows[OTHER].mean == 0
    assert result.rows[UNION].mean == pytest.approx(0.5)
    assert result.rows[WHOLE].mean == pytest.approx(36 / SIDE**2)
    assert result.gains[OTHER].low == 1
    assert set(result.rows) == {MODEL, OTHER, UNION, WHOLE, TARGET, INPUT}
    assert result.switched == 1
    assert result.empty == 1
    assert result.empty_samples == 3
    assert {count: each.mean for count, each in result.curve.items()} == {1: 1, 2: 1, 4: 1}


@pytest.mark.unit
def test_an_answer_that_never_changes_follows_nothing() -> None:
    result = measure_family("squares", "held-out", Squares(), blind, samples=12, counts=(1,))
    assert result.rows[MODEL].mean == pytest.approx(0.5)
    assert result.gains[OTHER].mean == 0
    assert result.gains[UNION].mean == 0
    assert result.switched == 0
    assert result.empty == 0


@pytest.mark.unit
def test_some_episodes_have_no_other_answer(tmp_path: Path) -> None:
    result = measure_family("sometimes", "held-out", Squares(), reader, samples=9, counts=(1,))
    assert result.rows[MODEL].count == 9
    assert result.rows[OTHER].count == result.gains[OTHER].count == 6
    assert result.gains[OTHER].low == 1
    PairsReport(heading="", facts={}, results=(result,)).write(tmp_path)


@pytest.mark.unit
def test_a_query_that_shows_only_what_is_asked_cannot_tell_reading_from_marking_all() -> None:
    result = measure_family("alone", "held-out", Squares(), reader, samples=9, counts=(1,))
    assert result.rows[MODEL].count == result.rows[OTHER].count == 9
    assert result.rows[UNION].count == result.gains[UNION].count == 6
    assert result.rows[UNION].mean == pytest.approx(0.5)
    assert result.switched == 1


@pytest.mark.unit
def test_what_is_not_known_does_not_count() -> None:
    episode = Squares().episode("squares", "held-out", 0)
    blank = replace(episode, known=~episode.mask(episode.truth))
    assert not blank.mask(episode.truth).any()
    assert episode.painted(episode.truth) == pytest.approx(36 / SIDE**2)
    assert blank.painted(episode.truth) == 0
    result = measure_family("hidden", "held-out", Squares(), reader, samples=4, counts=(1,))
    assert UNION not in result.rows
    assert result.rows[MODEL].mean == 1


@pytest.mark.unit
def test_pictures_are_measured_by_what_they_gain_over_the_input() -> None:
    result = measure_family("lighter", "held-out", Squares(), reader, samples=6, counts=(1,))
    assert result.unit == "dB gained"
    assert result.rows[INPUT].mean == 0
    assert result.rows[MODEL].mean > 20
    assert result.gains[FLAT].low > 10
    assert result.switched is None
    assert result.empty is None


@pytest.mark.unit
def test_members_that_have_a_name_are_measured_each_for_itself(tmp_path: Path) -> None:
    def halfway(pairs: Pairs, query: U8) -> U8:
        image, target = pairs[0]
        gap = int(target.max()) - int(image.max())
        return brighter(query, gap) if gap == -60 else query

    result = measure_family("lighter", "held-out", Squares(), halfway, samples=7, counts=(1,))
    assert {name: each.score.count for name, each in result.named.items()} == {
        "by two steps": 4,
        "by one": 3,
    }
    two, one = result.named["by two steps"], result.named["by one"]
    assert two.score.mean > 20
    assert one.score.mean == 0
    assert two.gains[INPUT].mean == two.score.mean
    assert one.gains[INPUT].mean == 0
    assert set(two.gains) == {TARGET, INPUT, FLAT}
    report = PairsReport(heading="", facts={}, results=(result,))
    assert "  by one  " in report.text()
    (family,) = report.to_json()["families"]
    assert family["named"]["by one"]["score"]["mean"] == 0
    report.write(tmp_path)
    assert "by two steps" in (tmp_path / "report.html").read_text()


@pytest.mark.unit
def test_the_report_says_it_in_words_numbers_and_pictures(tmp_path: Path) -> None:
    result = measure_family("squares", "held-out", Squares(), reader, samples=4, counts=(1, 2))
    report = PairsReport(heading="a reader", facts={"asked": "reader"}, results=(result,))
    text = report.text()
    assert "answer went with the mark: 100.0 %" in text
    assert "by number of pairs: 1: 1.000, 2: 1.000" in text
    assert "nothing painted where nothing is: 100.0 % of 2" in text
    (family,) = report.to_json()["families"]
    assert family["rows"][MODEL]["mean"] == 1
    assert family["curve"] == {1: family["rows"][MODEL], 2: family["rows"][MODEL]}
    report.write(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["asked"] == "reader"
    page = (tmp_path / "report.html").read_text()
    assert "another answer&#x27;s pairs" in page or "another answer's pairs" in page
    assert "data:image" in page


@pytest.mark.data
def test_a_bundle_and_a_checkpoint_by_the_command(data: Path, tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.lavin")
    words = ["--suite", "pairs", "--data", str(data), "--samples", "2", "--task", "rule"]
    result = CliRunner().invoke(evaluate, [str(tmp_path / "toy.lavin"), *words, "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [(f["family"], f["members"]) for f in found["families"]] == [
        ("rule", "held-out"),
        ("rule", "trained"),
    ]
    assert "toy.lavin" in found["asked"]


def test_a_checkpoint_answers_in_torch_as_its_bundle_does(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    for name in ("lavin_dit.safetensors", "stvae.pt"):
        shutil.copy(GOLDEN / name, tmp_path)
    config = json.loads((GOLDEN / "config.json").read_text())
    config["inference"] = {"size": [64, 64], "steps": 1, "grid": "uniform", "guidance": 1.0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    a, b, query = (
        np.asarray(Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize((96, 80)))
        for _ in range(3)
    )
    image = TorchAnswers(tmp_path)([(a, b)], query)
    with lavin_deploy.load(tiny_bundle) as model:
        expected = model.run(pairs=[(a, b)], query=query, seed=0).image
    assert image.shape == query.shape
    assert np.abs(image.astype(int) - expected).max() <= 1
    config["inference"]["guidance"] = 1.5
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"guidance 1\.5"):
        TorchAnswers(tmp_path)


@pytest.mark.data
def test_a_checkpoint_by_the_command(data: Path, tmp_path: Path) -> None:
    dit = replace(preset("tiny").dit, pairing="merged", context="frozen")
    inference = Inference(size=(48, 48), pairs=1, steps=1, grid="uniform", guidance=1.0)
    config = replace(preset("tiny"), dit=dit, inference=inference)
    write_released(tmp_path, config)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    words = ["--suite", "pairs", "--data", str(data), "--samples", "2", "--task", "filter"]
    report = ["--report", str(tmp_path / "report")]
    result = CliRunner().invoke(evaluate, [str(tmp_path), *words, *report])
    assert result.exit_code == 0, result.stderr
    assert "torch, fp32" in result.stdout
    assert "by number of pairs: 1: " in result.stdout
    found = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [len(f["curve"]) for f in found["families"]] == [3, 3]
    held_out, trained = (f["named"] for f in found["families"])
    assert held_out
    assert set(held_out) <= set(HELD_OUT_FILTERS)
    assert not trained
    result = CliRunner().invoke(evaluate, [str(tmp_path), *words, "--precision", "fp16"])
    assert result.exit_code == 2
    assert "leave --precision and --size out" in result.stderr
    # The same figures through its bundle.
    bundle = str(tmp_path / "m.lavin")
    exported = ["--ckpt", str(tmp_path), "--out", bundle, "--size", "48x48"]
    pairs = ["--pairs=1", "--pairs=2", "--pairs=4"]
    result = CliRunner().invoke(export, [*exported, *pairs])
    assert result.exit_code == 0, result.stderr
    result = CliRunner().invoke(evaluate, [bundle, *words, "--json"])
    assert result.exit_code == 0, result.stderr
    for by_bundle, in_torch in zip(
        json.loads(result.stdout)["families"], found["families"], strict=True
    ):
        for part in ("curve", "rows"):
            assert list(by_bundle[part]) == list(in_torch[part])
            for name, each in in_torch[part].items():
                assert by_bundle[part][name]["mean"] == pytest.approx(each["mean"], abs=5e-4)


@pytest.mark.data
def test_what_does_not_go_together_is_refused(data: Path, tmp_path: Path) -> None:
    write_toy(tmp_path / "toy.lavin")
    for more, sentence in (
        ((), "give --data DIR"),
        (("--data", str(data), "--steps", "3"), "--steps does not go with --suite pairs"),
        (("--data", str(data), "--kid"), "--kid does not go with --suite pairs"),
        (("--data", str(data), "--task", "folow"), "follow"),
        (("--data", str(tmp_path)), "lavin-data prepare"),
    ):
        words = [str(tmp_path / "toy.lavin"), "--suite", "pairs", *more]
        result = CliRunner().invoke(evaluate, words)
        assert result.exit_code == 2, result.output
        assert sentence in result.stderr
