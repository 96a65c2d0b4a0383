"""However a training is interrupted, its model has the same bytes in the end, or an error says why there is none."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dvc_project import write_yaml
from trials import PLAIN, SETTINGS, End, Run, trainer

from textmill.base.errors import UserError
from textmill.encode.batching import make_batch
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.weights import load_model
from textmill.pipeline.inputs import stage_inputs
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.settings import TrainSettings


@pytest.fixture(scope="module")
def folder(corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("trainings")
    corpus.save(made / "corpus.safetensors")
    tokenizer.save(made / "tokenizer.model")
    return made


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> dict[str, Run]:
    runs = {name: Run(folder, f"undisturbed-{name}", settings) for name, settings in SETTINGS.items()}
    assert [run.start() for run in runs.values()] == [0] * len(runs)
    return runs


def assert_same(run: Run, wanted: Run) -> None:
    assert run.model.read_bytes() == wanted.model.read_bytes()
    assert run.rows_seen() == wanted.rows_seen(), "other examples, or in another order"
    assert run.history() == wanted.history()


# Saves are behind steps 4, 8, 12 and 14; seconds are a share of those that an undisturbed run takes.
KILLS = {
    "everything": [
        [End("killed behind step", 1)],
        [End("killed behind step", 6)],
        [End("killed behind step", 13)],
        [End("killed in write", 0.3, 1)],
        [End("killed in write", 0.999, 2)],
        [End("killed in write", 0.0, 3)],
        [End("killed at size", 0, 1)],  # inside safetensors, which has a temporary file of its own then
        [End("killed at size", 60_000, 2)],
        [End("killed before rename", number=2)],
        [End("killed behind rename", number=4)],
        [End("killed behind step", 5), End("killed behind step", 10)],
        [End("killed at second", random.uniform(0.2, 0.5)), End("killed in write", 0.6, 1)],
        [End("killed at second", random.uniform(0.0, 0.5))],
        [End("killed at second", random.uniform(0.5, 1.0))],
    ],
    "plain": [
        [End("killed behind step", 7), End("killed before rename", number=2)],
        [End("killed at second", random.uniform(0.0, 1.0))],
    ],
}


@pytest.mark.parametrize("name", KILLS)
def test_a_training_killed_anywhere_ends_as_the_undisturbed_one(undisturbed: dict[str, Run], name: str) -> None:
    """Every resuming process gets another seed, so the test fails if a random state is not restored."""
    wanted = undisturbed[name]
    seconds = float((wanted.folder / f"{wanted.name}.seconds").read_text())
    for index, ends in enumerate(KILLS[name]):
        run = Run(wanted.folder, f"killed-{name}-{index}", wanted.settings)
        for place, end in enumerate(ends):
            is_timed = end.kind == "killed at second"
            code = run.start(replace(end, place=end.place * seconds) if is_timed else end, seed=100 + place)
            assert code < 0 or (is_timed and code == 0), f"{end}: not killed"
        assert run.start(seed=99) == 0, ends
        assert_same(run, wanted)
        assert [path.name for path in run.checkpoint.path.parent.iterdir()] == ["f.safetensors"], "half a checkpoint stays behind"


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (End("terminated behind step", 6), 143),
        (End("terminated before rename", number=2), 143),
        (End("disk full", 0, 2), 2),
        (End("disk full", 60_000, 2), 2),
    ],
    ids=lambda value: f"{value.kind} {value.place}" if isinstance(value, End) else None,
)
def test_a_stopped_training_keeps_its_last_checkpoint_whole(undisturbed: dict[str, Run], end: End, code: int) -> None:
    wanted = undisturbed["plain"]
    run, killed = (Run(wanted.folder, f"{name}-{end.kind}-{end.place}", PLAIN) for name in ("stopped", "killed"))
    assert run.start(end) == code
    assert killed.start(End("killed behind step", 5)) < 0
    assert [path.name for path in run.checkpoint.path.parent.iterdir()] == ["f.safetensors"]
    assert run.checkpoint.path.read_bytes() == killed.checkpoint.path.read_bytes(), "the checkpoint of step 4 is another one"
    if code == 2:
        assert re.search(r"f\.safetensors: .*File too large.*the last checkpoint is kept", run.message())
    assert run.start(seed=99) == 0
    assert_same(run, wanted)


@pytest.mark.parametrize("number", [2, 3])
def test_a_checkpoint_is_the_same_bytes_after_a_kill_in_the_write_of_the_next(undisturbed: dict[str, Run], number: int) -> None:
    folder, step = undisturbed["plain"].folder, 4 * (number - 1)
    wanted = Run(folder, f"saved-{number}", PLAIN)
    assert wanted.start(End("killed behind step", step + 1)) < 0
    ends = [
        ("killed in write", 0.0),
        ("killed in write", 0.4),
        ("killed in write", 0.999),
        ("killed at size", 0),
        ("killed at size", 60_000),
    ]
    for index, (kind, place) in enumerate([*ends, ("killed before rename", 0)]):
        run = Run(folder, f"half-{number}-{index}", PLAIN)
        assert run.start(End(kind, place, number)) < 0, kind
        assert len(list(run.checkpoint.path.parent.iterdir())) == 2, "nothing of the next is there: then this test shows nothing"
        assert run.checkpoint.path.read_bytes() == wanted.checkpoint.path.read_bytes(), (kind, place)
        found = run.checkpoint.load()
        assert found is not None and found[1]["position"]["step"] == step
        assert [path.name for path in run.checkpoint.path.parent.iterdir()] == ["f.safetensors"], (kind, place)
        assert not run.model.exists()


@pytest.mark.parametrize("changed", ["nothing", "learning rate", "corpus", "code"])
def test_a_killed_training_goes_on_only_if_settings_data_and_code_are_the_same(
    corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """The file name of the checkpoint is the key of the stage inputs, as the runner computes it."""
    inputs = ["corpus.safetensors", "tokenizer.model", "loop.py"]
    stage = {"cmd": "python loop.py", "deps": inputs, "params": ["learning_rate"], "outs": ["model.safetensors"]}
    write_yaml(tmp_path / "dvc.yaml", {"stages": {"train": stage}})
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(f"[core]\n    no_scm = true\n    site_cache_dir = {tmp_path}/.dvc/site\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def run(name: str, settings: TrainSettings) -> Run:
        write_yaml(tmp_path / "params.yaml", {"learning_rate": settings.learning_rate})
        return Run(tmp_path, name, settings, stage_inputs("train").key)

    corpus.save(tmp_path / "corpus.safetensors")
    tokenizer.save(tmp_path / "tokenizer.model")
    (tmp_path / "loop.py").touch()
    killed, settings = run("x", PLAIN), PLAIN
    assert killed.start(End("killed behind step", 7)) < 0
    if changed == "learning rate":
        settings = replace(PLAIN, learning_rate=2 * PLAIN.learning_rate)
    elif changed == "corpus":
        tokens = corpus.source_tokens.clone()
        tokens[:4] = tokens[:4].flip(0)
        replace(corpus, source_tokens=tokens).save(tmp_path / "corpus.safetensors")
    elif changed == "code":
        (tmp_path / "loop.py").write_text("# other code\n", encoding="utf-8")
    clean, second = run("clean", settings), run("x", settings)
    assert (clean.start(), second.start(seed=99)) == (0, 0)
    assert second.first_steps() == [0, 4 if changed == "nothing" else 0]
    assert_same(second, clean)
    assert [path.name for path in second.checkpoint.path.parent.iterdir()] == [second.checkpoint.path.name]


def test_a_fine_tuning_that_is_killed_after_pruning_ends_as_the_undisturbed_one(folder: Path) -> None:
    wanted = Run(folder, "fine-tuned", PLAIN)
    assert wanted.start_fine_tuning() == 0
    for index, end in enumerate([End("killed behind step", 7), End("killed in write", 0.5, 2)]):
        run = Run(folder, f"killed-fine-tuned-{index}", PLAIN)
        assert run.start_fine_tuning(end) < 0
        found = run.checkpoint.load()
        assert found is not None and found[1]["position"]["step"] == 4, "nothing to go on from: then this test shows nothing"
        assert run.start_fine_tuning() == 0
        assert run.model.read_bytes() == wanted.model.read_bytes() and run.history() == wanted.history()
    kept = load_model(wanted.model).shape
    assert (kept.encoder_heads, kept.decoder_heads) == (1, 1)
    assert sum([*kept.encoder_feed_forward, *kept.decoder_feed_forward]) == 48, "half of 32 units in three layers"


@pytest.mark.slow
@pytest.mark.parametrize(
    "ends", [[], [End("killed behind step", 6)], [End("killed before rename", number=2), End("killed behind step", 13)]]
)
def test_a_training_with_workers_ends_as_one_without_however_often_it_is_killed(undisturbed: dict[str, Run], ends: list[End]) -> None:
    wanted = undisturbed["everything"]
    run = Run(wanted.folder, f"workers-{len(ends)}", replace(wanted.settings, num_workers=2))
    for end in ends:
        assert run.start(end, seed=100) < 0
    assert run.start(seed=99) == 0
    assert_same(run, wanted)


def test_a_finished_training_that_starts_again_takes_no_further_step(undisturbed: dict[str, Run]) -> None:
    for wanted in undisturbed.values():
        before = wanted.model.read_bytes(), wanted.rows_seen(), wanted.history()
        assert wanted.start(seed=99) == 0
        assert (wanted.model.read_bytes(), wanted.rows_seen(), wanted.history()) == before


def test_two_processes_that_hash_otherwise_write_the_same_models(undisturbed: dict[str, Run]) -> None:
    folder, tests = undisturbed["plain"].folder, Path(__file__).parent
    program = "import sys, pathlib; from trials import again; again(pathlib.Path(sys.argv[1]))"
    path = os.pathsep.join([str(tests), str(tests.parent), *sys.path])
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", program, str(folder)], env=environment, check=True)
    for name, wanted in undisturbed.items():
        assert_same(Run(folder, f"again-{name}", SETTINGS[name]), wanted)


def test_a_batch_that_does_not_fit_in_memory_is_named_with_a_budget_that_fits(
    corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    replace(corpus, weight=60 * corpus.weight).save(tmp_path / "corpus.safetensors")
    tokenizer.save(tmp_path / "tokenizer.model")
    settings = replace(PLAIN, batch_tokens=1 << 18, max_steps=5)
    large = Run(tmp_path, "large", settings)
    assert large.start(End("little memory", 200e6)) == 2
    found = re.search(
        r"does not fit in memory \(batch_tokens: 262144\)\. Set batch_tokens to (\d+), which fits, and accumulate to (\d+)", large.message()
    )
    assert found, large.message()
    budget, accumulate = int(found[1]), int(found[2])
    assert budget * accumulate >= settings.batch_tokens
    fitting = Run(tmp_path, "fitting", replace(settings, batch_tokens=budget, accumulate=2))
    code = fitting.start(End("little memory", 200e6))
    assert code == 0, (large.message(), fitting.message())


def test_weights_with_nan_or_infinity_never_replace_a_good_checkpoint(folder: Path) -> None:
    """The loss of a step uses the weights before the step. The validation is the first to use the weights after it."""
    run = trainer(Run(folder, "diverged", replace(PLAIN, validate_every=1)), 1)
    schedule = run.schedule
    run.schedule = lambda step, settings: schedule(step, settings) if step < 3 else float("inf")
    with pytest.raises(UserError, match="no longer finite at step 3"):
        run.run()
    assert run.this_run.checkpoint is not None
    found = run.this_run.checkpoint.load()
    assert found is not None and found[1]["position"]["step"] == 2
    assert all(bool(torch.isfinite(tensor).all()) for tensor in found[0].values())


def test_the_gradients_of_several_batches_are_those_of_one(folder: Path) -> None:
    stepped = []
    for share in (1, 4, 40):
        training = trainer(Run(folder, f"accumulated-{share}", replace(PLAIN, gradient_clip=0.0)), 1)
        training.model.eval()  # no dropout
        rows = np.arange(40)
        losses = training._step([make_batch(training.corpus, part) for part in np.array_split(rows, share)])
        stepped.append((losses, {name: weight.clone() for name, weight in training.optimizer.state().items()}))
    one, one_state = stepped[0]
    for several, several_state in stepped[1:]:
        assert one[1] == several[1] and float(one[0]) == pytest.approx(float(several[0]), rel=1e-5)
        for name in one_state:
            if ".exp_avg" in name:
                torch.testing.assert_close(one_state[name], several_state[name], atol=1e-6, rtol=1e-5)
