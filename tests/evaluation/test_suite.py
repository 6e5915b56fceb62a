"""The evaluation itself: answers whose score is known must get it."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lavin_deploy.arrays import U8
from lavin_deploy.errors import InputError, WorkError
from lavin_deploy.evaluation.metrics import PSNR_LIMIT
from lavin_deploy.evaluation.report.contact_sheet import contact_sheet
from lavin_deploy.evaluation.report.page import write_report
from lavin_deploy.evaluation.report.report import SuiteReport
from lavin_deploy.evaluation.report.table import lines
from lavin_deploy.evaluation.suite import Score, TaskResult, choose_tasks, evaluate_task
from lavin_deploy.evaluation.swap import follows
from lavin_deploy.evaluation.task_evals import SUITES, TASK_EVALS
from lavin_deploy.tasks.painting import paint
from lavin_deploy.tasks.samples import Episode, Pairs, Style
from lavin_deploy.training.tasks.heldout import HeldOut
from tests.helpers.answers import Oracle
from tests.helpers.toy_bundle import flat

pytestmark = pytest.mark.data

PERFECT = {
    "iou": 1,
    "dice": 1,
    "boundary_f": 1,
    "psnr": PSNR_LIMIT,
    "ssim": 1,
    "hole_psnr": PSNR_LIMIT,
    "moving_psnr": PSNR_LIMIT,
    "ab_psnr": PSNR_LIMIT,
    "colourfulness_error": 0,
    "abs_rel": 0,
    "delta1": 1,
    "matte_error": 0,
    "unfitted_error": 0,
    "mean_angle": 0,
    "box_iou": 1,
    "box_f": 1,
    "pq": 1,
    "limb_f": 1,
    "contour_correlation": 1,
}


@pytest.fixture(scope="module")
def oracle(data: Path) -> Oracle:
    return Oracle(HeldOut(data, size=32, pairs=2))


@pytest.fixture(scope="module")
def perfect(oracle: Oracle) -> TaskResult:
    return evaluate_task("segmentation", oracle, oracle.answer, samples=10, keep_pictures=3)


@pytest.mark.parametrize("task", [task for task in TASK_EVALS if task not in SUITES["labelled"]])
def test_perfect_answers_have_perfect_scores(oracle: Oracle, task: str) -> None:
    result = evaluate_task(task, oracle, oracle.answer, samples=4)
    for metric in result.metrics:
        mean = result.score("model", metric.name).mean
        assert mean == pytest.approx(PERFECT[metric.name], abs=1e-4), metric.name
        for row in result.rows[1:]:
            other = row.scores[metric.name].mean
            assert other is None or (other <= mean) == metric.higher_is_better, row.name


def test_the_ceiling_is_the_truth_after_the_autoencoder(oracle: Oracle) -> None:
    result = evaluate_task(
        "denoising", oracle, oracle.answer, samples=3, ceiling=lambda picture: picture // 2 * 2
    )
    assert next(row.kind for row in result.rows if row.name == "ST-VAE of truth") == "ceiling"
    mean = result.score("ST-VAE of truth").mean
    assert mean is not None
    assert 48 < mean < 52  # half of the numbers are off by one: 51.1 dB


@pytest.mark.parametrize("task", ["segmentation", "depth", "edges", "sepia"])
def test_the_gain_over_pairs_of_another_task(oracle: Oracle, task: str) -> None:
    result = evaluate_task(task, oracle, oracle.answer, samples=6)
    assert result.gain is not None
    model, wrong = result.score("model").mean, result.score("wrong prompt").mean
    assert model is not None
    assert wrong is not None
    sign = 1 if result.metrics[0].higher_is_better else -1
    assert result.gain.mean == pytest.approx(sign * (model - wrong))
    assert 0 < result.gain.low < result.gain.mean < result.gain.high


def test_perfect_answers_swap_always(perfect: TaskResult) -> None:
    assert perfect.swap is not None
    assert perfect.swap.colour == perfect.swap.polarity == perfect.swap.both == 100
    assert perfect.swap.polarity_cases == 10
    assert perfect.swap.colour_cases >= 8
    assert perfect.score("exchanged colours").mean == 0


def test_an_all_foreground_mask_scores_the_share_of_foreground(
    oracle: Oracle, perfect: TaskResult
) -> None:
    shares = []
    for index in range(10):
        episode = oracle.episode("segmentation", index)
        style = episode.style
        distance = np.linalg.norm(episode.truth - np.array(style.foreground, float), axis=-1)
        truth = distance < np.linalg.norm(
            episode.truth - np.array(style.background, float), axis=-1
        )
        shares.append(truth.mean())
    assert perfect.score("all foreground").mean == pytest.approx(np.mean(shares))
    assert all(0.03 < share < 0.45 for share in shares)


@pytest.mark.parametrize("task", SUITES["core"])
def test_answering_with_the_query_scores_as_the_control(oracle: Oracle, task: str) -> None:
    result = evaluate_task(task, oracle, lambda pairs, query: query, samples=3)
    for metric in result.metrics:
        copied = result.score("copy input", metric.name)
        for row in ("model", "wrong prompt", "mismatched pairs"):
            assert result.score(row, metric.name) == copied
    if result.swap is not None:
        assert result.swap.polarity == 0


def test_the_right_mask_in_colours_of_its_own_does_not_swap(oracle: Oracle) -> None:
    def stubborn(pairs: Pairs, query: U8) -> U8:
        return oracle.episodes[query.tobytes()].truth

    result = evaluate_task("segmentation", oracle, stubborn, samples=6)
    assert result.score("model").mean == 1
    assert result.score("mismatched pairs").mean == 1
    assert result.swap is not None
    assert result.swap.polarity == 0
    assert result.swap.colour == 0


def test_following_needs_the_region_and_the_colours() -> None:
    old = Style(foreground=(255, 0, 0), background=(0, 0, 0))
    new = Style(foreground=(0, 255, 0), background=(0, 0, 0))
    left, right, none = np.zeros((3, 8, 8))
    left[:, :4], right[:, 4:] = 1, 1
    first = paint(left, (255, 0, 0), (0, 0, 0))
    assert follows(first, old, paint(left, (0, 255, 0), (0, 0, 0)), new)
    assert follows(first, old, paint(left, (0, 200, 60), (20, 0, 0)), new)
    assert not follows(first, old, paint(right, (0, 255, 0), (0, 0, 0)), new)
    assert not follows(first, old, first, new)
    assert not follows(first, old, paint(none, (0, 255, 0), (0, 0, 0)), new)
    turned = old.exchanged()
    assert follows(first, old, paint(left, (0, 0, 0), (255, 0, 0)), turned)
    assert not follows(first, old, first, turned)


def test_an_answer_of_another_size_is_refused(oracle: Oracle) -> None:
    with pytest.raises(WorkError, match="like its query"):
        evaluate_task("depth", oracle, lambda pairs, query: query[1:], samples=1)


def test_every_sample_is_counted(oracle: Oracle) -> None:
    count = []
    evaluate_task("denoising", oracle, oracle.answer, samples=3, advance=lambda: count.append(1))
    assert len(count) == 3


def test_grey_photographs_do_not_count_as_coloured(oracle: Oracle) -> None:
    grey = flat(32, 32, 90, 90, 90)
    episode = replace(oracle.episode("colorization", 0), query=grey, truth=grey)

    class Grey(Oracle):
        def episode(self, task: str, index: int) -> Episode:
            return self.source.episode(task, index) if index else episode

    result = evaluate_task("colorization", Grey(oracle.source), lambda _, query: query, samples=3)
    assert {score.count for row in result.rows for score in row.scores.values()} == {2}
    assert evaluate_task(
        "colorization", Grey(oracle.source), lambda _, query: query, samples=1
    ).score("model") == Score(mean=None, error=None, count=0)


def test_which_tasks_run() -> None:
    assert choose_tasks("core", (), ()) == SUITES["core"]
    assert choose_tasks("core", (), ("depth", "other", "edges")) == ("edges", "depth")
    assert choose_tasks("core", ("normals", "depth", "normals"), ("edges",)) == ("normals", "depth")
    with pytest.raises(InputError, match="Did you mean 'segmentation'"):
        choose_tasks("core", ("segmentatoin",), ())
    with pytest.raises(InputError, match=r"unknown suite 'cor'.*'core'"):
        choose_tasks("cor", (), ())


def test_the_report_for_people_and_for_programs(perfect: TaskResult, tmp_path: Path) -> None:
    report = SuiteReport(
        suite="core",
        heading="a bundle",
        closing="in no time",
        facts={"seed": 3},
        settings={"segmentation": {"steps": 2, "guidance": 1.0}},
        results=(perfect,),
    )
    table = report.text()
    assert table.endswith("\n\nin no time")
    assert table.startswith("a bundle\n\nsegmentation: 10 held-out samples, steps 2, guidance 1\n")
    assert "model     model                 1.000 ±0.000" in table
    assert "follows a new colour in 100.0 % of" in table
    write_report(report, tmp_path)
    names = {"report.html", "report.json", "report.txt", "segmentation.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["seed"] == 3
    task = data["tasks"]["segmentation"]
    assert task["headline"] == "iou"
    assert task["steps"] == 2
    assert task["rows"][0] == {
        "name": "model",
        "kind": "model",
        "scores": {
            name: {"mean": 1.0, "error": 0.0, "count": 10} for name in ("iou", "dice", "boundary_f")
        },
    }
    with Image.open(tmp_path / "segmentation.png") as picture:
        assert np.array_equal(np.asarray(picture), contact_sheet(perfect))
        assert picture.height == 14 + 3 * 132 - 4
        assert picture.width == (4 + len(perfect.rows)) * 132 - 4


def test_the_page_has_all_numbers_and_pictures_inside(perfect: TaskResult, tmp_path: Path) -> None:
    report = SuiteReport(
        suite="core",
        heading="a <bundle>\nmeasured",
        facts={"seed": 3, "versions": {"numpy": "2"}},
        settings={"segmentation": {"steps": 2}},
        results=(perfect,),
    )
    write_report(report, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "a &lt;bundle&gt;" in page
    assert "<script" not in page
    assert set(re.findall(r'(?:src|href)="([^"]{5})', page)) == {"data:", "#segm"}
    for line in lines(perfect):
        assert line.name in page
        assert all(cell in page for cell in line.cells)
    assert "95 % interval" in page
    assert "<td><code>seed</code></td><td>3</td>" in page
    match = re.search(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert match is not None
    with Image.open(io.BytesIO(base64.b64decode(match[1]))) as picture:
        pixels = np.asarray(picture, np.int16)
    assert np.abs(pixels - contact_sheet(perfect)).mean() < 8
