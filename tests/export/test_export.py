from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from int8_arithmetic import INT8_TOLERANCE, distance_from_int8
from toy import DECODE, MODEL

from textmill.base.errors import UserError
from textmill.base.files import read_json, sha256_of, write_json
from textmill.decode.ct2_engine import CTranslate2Engine
from textmill.decode.torch_engine import TorchEngine
from textmill.encode.encoded_corpus import EncodedCorpus, encoded_corpus
from textmill.export.ct2_spec import write_ct2
from textmill.export.model_card import model_card
from textmill.export.package import export_model
from textmill.export.parity import compare_engines
from textmill.export.settings import ExportSettings
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.shape import Shape
from textmill.model.weights import save_model
from textmill.serving.generation import Generation
from textmill.serving.manifest import MODEL_FILES
from textmill.serving.text_model import TextModel
from textmill.tasks.settings import TaskSettings
from textmill.tokenizer.tokenizer import Tokenizer

EXPORT = ExportSettings("toy", 30, 1e-4, 0.99, 0.5)
TASKS = {"translate": TaskSettings("en", target_language="zh")}
DISTILLED = {"originals": 1200, "distilled": 900, "parameters": 50_000}


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("is_pruned", [False, True])
def test_ctranslate2_says_what_torch_says(
    corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path, norm_position: str, activation: str, is_pruned: bool
) -> None:
    torch.manual_seed(2)
    shape = Shape.of(replace(MODEL, width=32, heads=4, norm_position=norm_position, activation=activation), len(tokenizer.pieces))  # type: ignore[arg-type]
    if is_pruned:
        shape = replace(
            shape,
            encoder_heads=3,
            encoder_key_value_heads=3,
            decoder_heads=1,
            decoder_key_value_heads=1,
            encoder_feed_forward=(12,),
            decoder_feed_forward=(4, 20),
        )
    model = build_model(shape).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
        model.tokens.output_bias[3] += 2
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sources, targets = [corpus.source(row) for row in range(40)], [corpus.target(row) for row in range(40)]
    for quantization in ("float32", "int8"):
        folder = tmp_path / quantization
        folder.mkdir()
        write_ct2(model, tokenizer.pieces, folder, quantization)
        for beam_size in (1, 4):
            decode = replace(DECODE, beam_size=beam_size)
            parity = compare_engines(TorchEngine([model]), CTranslate2Engine(folder), sources, targets, decode)
            assert quantization == "int8" or (parity.max_log_probability_difference < 1e-4 and parity.identical == 1.0)
    assert distance_from_int8(CTranslate2Engine(tmp_path / "int8"), model, sources, targets) < INT8_TOLERANCE
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items()), "export changed the live model"
    assert (tmp_path / "int8" / "model.bin").stat().st_size < 0.5 * (tmp_path / "float32" / "model.bin").stat().st_size


def test_neither_batches_nor_threads_change_what_ctranslate2_says(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """In float32. Rounding may change one output in a hundred."""
    write_ct2(model, tokenizer.pieces, tmp_path, "float32")
    sources = [corpus.source(row) for row in range(100)]
    found = [
        [hypotheses[0].tokens for hypotheses in engine.generate(sources, replace(DECODE, batch_size=batch_size))]
        for num_threads in (1, 2)
        for engine in [CTranslate2Engine(tmp_path, num_threads=num_threads)]
        for batch_size in (1, 7, 32)
    ]
    assert len({tuple(tokens) for tokens in found[0]}) > 20, "all outputs are alike: then this test shows nothing"
    for outputs in found[1:]:
        assert sum(map(list.__eq__, outputs, found[0])) >= 0.99 * len(sources)


def exported(folder: Path, model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, settings: ExportSettings = EXPORT) -> Path:
    save_model(folder / "model.safetensors", model)
    write_json(folder / "metrics.json", export_model(folder / "model.safetensors", corpus, tokenizer, folder / "export", settings, DECODE))
    return folder / "export" / "int8"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(EXPORT, max_size_ratio=0.01), "times the size of the torch weights"),
        (replace(EXPORT, max_log_probability_difference=0.0), "a log probability of the float32 export differs from torch by"),
    ],
)
def test_a_failed_check_writes_nothing(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path, settings: ExportSettings, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        exported(tmp_path, model, corpus, tokenizer, settings)
    assert not (tmp_path / "export").exists()


def test_parity_is_measured_on_pairs_with_a_source(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    for name, empty in (("some", 2), ("all", 9)):
        sources, targets = [[] if row < empty else corpus.source(row) for row in range(9)], [corpus.target(row) for row in range(9)]
        pairs = encoded_corpus(sources, targets, corpus.folds[:9].numpy(), corpus.vocabulary_size)
        if empty == len(pairs):
            with pytest.raises(UserError, match="every source of the training pairs is empty"):
                exported(tmp_path / name, model, pairs, tokenizer)
        else:
            exported(tmp_path / name, model, pairs, tokenizer)
            assert read_json(tmp_path / name / "metrics.json")["parity_sentences"] == len(pairs) - empty


def test_an_export_is_the_same_bytes_twice(model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path) -> None:
    manifests = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        manifests.append(read_json(exported(tmp_path / name, model, corpus, tokenizer) / "manifest.json"))
    assert manifests[0] == manifests[1]


def test_it_translates_where_torch_cannot_be_imported(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    folder = exported(tmp_path, model, corpus, tokenizer)
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from textmill.serving.text_model import TextModel\n"
        "print(len(TextModel.load(sys.argv[1]).generate(['Open the file', ''])))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)
    assert done.stdout == "2\n", done.stderr


def test_tasks_travel_with_the_model_and_an_unknown_one_is_named_with_the_known(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    folders = {}
    for name, tasks in {"none": [""], "one": ["ui"], "two": ["qa", "ui"]}.items():
        (tmp_path / name).mkdir()
        folders[name] = exported(tmp_path / name, model, replace(corpus, tasks=tasks), tokenizer)
    both = {"qa": TaskSettings("en", kind="question_answering"), "ui": TASKS["translate"]}
    card = model_card("toy", both, DISTILLED, read_json(tmp_path / "two" / "metrics.json"), DECODE, 'Save the "file"')
    assert "| Tasks | qa, ui |" in card and 'generate(["Save the \\"file\\""], task="qa")' in card
    assert "for question answering in en (qa); translation from en to zh (ui), made" in card
    models = {name: TextModel.load(folder) for name, folder in folders.items()}
    plain = models["none"].generate(["Open the file", "ui: Open the file"])
    assert models["one"].generate(["Open the file"]) == models["two"].generate(["Open the file"], task="ui") == plain[1:]
    for name, task, message in (
        ("two", "", "task '' is not known to this model. Known: 'qa', 'ui'."),
        ("two", "translate", "task 'translate' is not known to this model. Known: 'qa', 'ui'."),
        ("none", "qa", "Known: none: it was trained without names of tasks."),
    ):
        with pytest.raises(UserError, match=message):
            models[name].generate(["x"], task=task)


@pytest.mark.parametrize("method", ["sampling", "labels"])
def test_a_method_and_what_it_needs_travel_with_the_model(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path, method: Literal["sampling", "labels"]
) -> None:
    save_model(tmp_path / "weights", model)
    decode = replace(DECODE, method=method, top_k=20, cut="start", max_source_tokens=50)
    of_tasks = {"labels": {"ui": ["打开", "文件"]}, "of_tasks": {"ui": {"temperature": 1.5}}, "turn_separator": " | "}
    export_model(tmp_path / "weights", replace(corpus, tasks=["ui"]), tokenizer, tmp_path / "export", EXPORT, decode, of_tasks)
    loaded = TextModel.load(tmp_path / "export/int8")
    assert loaded.decode == decode
    assert loaded.generation == Generation(decode, ["ui"], of_tasks["labels"], of_tasks["of_tasks"], " | ")  # type: ignore[arg-type]
    (output,) = loaded.generate(["Open the file"])
    if method == "labels":
        assert output == loaded.classify(["Open the file"])[0].label
    else:
        assert output == loaded.generate(["Open the file"], method="sampling", temperature=1.5, top_k=20)[0]


def test_a_changed_or_missing_file_is_refused_by_name(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    folder = exported(tmp_path, model, corpus, tokenizer)
    TextModel.load(folder)
    content = bytearray((folder / "model.bin").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.bin: differs from manifest\.json"):
        TextModel.load(folder)
    (folder / "model.bin").unlink()
    with pytest.raises(UserError, match=r"model\.bin: no such file"):
        TextModel.load(folder)


@pytest.mark.parametrize(
    ("change", "training_pairs", "parameters"),
    [
        (
            {},
            "1,200 with their original target, 900 with the output of a teacher model as target (knowledge distillation)",
            "40,000, pruned from 50,000",
        ),
        ({"distilled": 0}, "1,200 with their original target", "40,000, pruned from 50,000"),
        (
            {"distilled": 0, "soft_labels": 2500},
            "1,200 with their original target, 2,500 with a label and the probability that a teacher model gives it (knowledge distillation)",
            "40,000, pruned from 50,000",
        ),
        (
            {"originals": 0, "parameters": 40_000},
            "900 with the output of a teacher model as target (knowledge distillation)",
            "40,000",
        ),
    ],
    ids=["distilled and pruned", "not distilled", "soft labels", "labels only, not pruned"],
)
def test_the_model_card_claims_distillation_and_pruning_only_if_they_took_place(
    change: dict[str, int], training_pairs: str, parameters: str
) -> None:
    parity = {"max_log_probability_difference": 1e-6, "identical": 1.0}
    metrics = {
        "parity": {"float32": parity, "int8": parity},
        "size_bytes": {"int8": 1},
        "parameters": 40_000,
        "size_ratio": 0.26,
        "tasks": [""],
    }
    card = model_card("toy", TASKS, DISTILLED | change, metrics, DECODE, "Save the file")
    assert f"| Training pairs | {training_pairs} |\n| Parameters | {parameters} |\n" in card
    assert ("distill" in card) == ("teacher" in card) == ("distillation" in training_pairs)
    assert "ensemble" not in card and ("prun" in card) == ("pruned" in parameters)


SHA256 = "0" * 64
MANIFESTS: list[tuple[object, str]] = [
    ({"files": {}}, r"manifest\.json: does not list config\.json, so nobody knows"),
    ({"files": {"model.bin": None}}, r"manifest\.json: is not of the form"),
    ({"files": {"model.bin": SHA256[:-1]}}, r"manifest\.json: is not of the form"),
    ({"files": {"../model.bin": SHA256}}, r"manifest\.json: is not of the form"),
    ({"files": {"..": SHA256}}, r"manifest\.json: is not of the form"),
    ({"files": {"/etc/passwd": SHA256}}, r"manifest\.json: is not of the form"),
    ({"files": ["model.bin"]}, r"manifest\.json: is not of the form"),
    ({"files": None}, r"manifest\.json: is not of the form"),
    ({}, r"manifest\.json: is not of the form"),
    ([], r"manifest\.json: is not of the form"),
    ("x", r"manifest\.json: is not of the form"),
]


def test_a_manifest_that_does_not_cover_what_is_loaded_is_refused_in_one_line(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    folder = exported(tmp_path, model, corpus, tokenizer)
    manifest = folder / "manifest.json"
    honest = read_json(manifest)
    partial = [({"files": {each: honest["files"][each] for each in honest["files"] if each != name}}, name) for name in honest["files"]]
    for content, message in [*MANIFESTS, *((content, f"does not list {re.escape(name)}") for content, name in partial)]:
        write_json(manifest, content)
        with pytest.raises(UserError, match=rf"^[^\n]*{message}[^\n]*$"):
            TextModel.load(folder)
    manifest.write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"manifest\.json: not valid JSON \(nested too deeply\)"):
        TextModel.load(folder)
    write_json(manifest, honest)
    (folder / "vocabulary.json").write_text("[]")
    with pytest.raises(UserError, match=r"vocabulary\.json: is not in manifest\.json, and CTranslate2 would load it"):
        TextModel.load(folder)


@pytest.mark.parametrize(
    "generation", [[], {}, {"tasks": []}, {"tasks": "x"}, {"tasks": [""], "beam_size": "x"}, {"tasks": [""], "beam": 1}]
)
def test_settings_of_decoding_of_another_shape_are_refused_in_one_line(tmp_path: Path, generation: object) -> None:
    for name in MODEL_FILES:
        (tmp_path / name).write_text("")
    write_json(tmp_path / "generation.json", generation)
    write_json(tmp_path / "manifest.json", {"files": {name: sha256_of(tmp_path / name) for name in MODEL_FILES}})
    with pytest.raises(UserError, match=r"^[^\n]*generation\.json[^\n]*$"):
        TextModel.load(tmp_path)


def test_no_flipped_byte_of_a_model_reaches_the_engine(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CTranslate2 and SentencePiece trust the lengths in a file, so a wrong length can crash the process."""
    folder = exported(tmp_path, model, corpus, tokenizer)
    monkeypatch.setattr("textmill.serving.text_model.CTranslate2Engine", lambda *_, **__: pytest.fail("it was loaded"))
    for name in MODEL_FILES:
        content = (folder / name).read_bytes()
        for place in range(0, len(content), max(1, len(content) // 40)):
            (folder / name).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            with pytest.raises(UserError, match=rf"{re.escape(name)}: differs from manifest\.json"):
                TextModel.load(folder)
        (folder / name).write_bytes(content)


def test_no_cut_file_of_a_model_reaches_the_engine(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exported(tmp_path, model, corpus, tokenizer)
    monkeypatch.setattr("textmill.serving.text_model.CTranslate2Engine", lambda *_, **__: pytest.fail("it was loaded"))
    for name in (*MODEL_FILES, "manifest.json"):
        content = (folder / name).read_bytes()
        for part in range(20):
            (folder / name).write_bytes(content[: len(content) * part // 20])
            with pytest.raises(UserError, match=rf"^[^\n]*{re.escape(name)}: (differs from manifest\.json|not valid JSON)[^\n]*$"):
                TextModel.load(folder)
        (folder / name).write_bytes(content)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_export_on_a_full_disk_leaves_whole_files_and_what_loads_is_the_old_model_or_the_new(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(EXPORT, parity_sentences=2)
    old = contents(exported(tmp_path, model, corpus, tokenizer, settings).parent)
    with torch.no_grad():
        model.tokens.output_bias[5] += 1.0
    (tmp_path / "other").mkdir()
    new = contents(exported(tmp_path / "other", model, corpus, tokenizer, settings).parent)
    written = sum(map(len, new.values()))
    write = Path.write_bytes
    loaded = []
    for part in range(8):
        for name, content in old.items():
            write(tmp_path / "export" / name, content)
        room = written * part // 8

        def fill(self: Path, content: bytes) -> int:
            nonlocal room
            write(self, content[:room])
            room -= len(content)
            if room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return len(content)

        with monkeypatch.context() as disk:
            disk.setattr(Path, "write_bytes", fill)
            with pytest.raises(OSError, match=r"No space left on device: '.*export/") as error:
                exported(tmp_path, model, corpus, tokenizer, settings)
        found = contents(tmp_path / "export")
        assert found.keys() == old.keys(), "a half file stays behind"
        assert all(content in (old[name], new[name]) for name, content in found.items())
        failed = str(Path(error.value.filename).relative_to(tmp_path / "export"))
        assert found[failed] == old[failed]
        for each in ("float32", "int8"):
            ours = {name: content for name, content in found.items() if name.startswith(each)}
            if ours.items() <= old.items() or ours.items() <= new.items():
                TextModel.load(tmp_path / "export" / each)
                loaded.append(ours.items() <= new.items())
            else:
                with pytest.raises(UserError, match=r"differs from manifest\.json"):
                    TextModel.load(tmp_path / "export" / each)
    assert {True, False} <= set(loaded)
    assert len(loaded) < 16, "no export failed between two files: then this test shows little"


def test_each_exported_file_reaches_the_disk_before_its_name_and_the_manifest_comes_last(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    fsync, rename = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        events.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def watched_rename(self: Path, target: Path) -> Path:
        events.append(("rename", target.name))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_rename)
    save_model(tmp_path / "model.safetensors", model)
    events.clear()
    export_model(tmp_path / "model.safetensors", corpus, tokenizer, tmp_path / "export", EXPORT, DECODE)
    expected = []
    for quantization in ("float32", "int8"):
        names = [name for kind, name in events[len(expected) :] if kind == "rename"][: len(MODEL_FILES) + 1]
        assert set(names) == {*MODEL_FILES, "manifest.json"} and names[-1] == "manifest.json"
        for name in names:
            expected += [("fsync", name), ("rename", name), ("fsync", quantization)]
    assert events == expected


READ_AS_ANOTHER = """
import os, sys
from pathlib import Path
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
print(sum(len(path.read_bytes()) for path in Path(sys.argv[1]).rglob("*") if path.is_file()))
"""


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_an_exported_model_has_the_mode_that_the_umask_asks_for_and_other_users_can_read_it(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, umask: int, mode: int
) -> None:
    with tempfile.TemporaryDirectory() as made:  # not tmp_path: nobody else may enter that
        Path(made).chmod(0o755)
        old = os.umask(umask)
        try:
            folder = exported(Path(made), model, corpus, tokenizer).parent
        finally:
            os.umask(old)
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert len(files) == 12 and {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}
        if os.geteuid() == 0:  # only root can become another user
            read = subprocess.run([sys.executable, "-c", READ_AS_ANOTHER, str(folder)], capture_output=True, text=True, check=False)
            assert int(read.stdout) == (sum(path.stat().st_size for path in files) if mode & 0o004 else 0), read.stderr


def test_a_decoder_only_model_is_a_package_like_any_other(corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_model(Shape.of(replace(MODEL, architecture="decoder_only"), len(tokenizer.pieces))).eval()
    folder = exported(tmp_path, network, corpus, tokenizer)
    translator = TextModel.load(folder)
    assert len(translator.generate(["Open the file", ""])) == 2
    assert read_json(folder / "config.json")["architecture"] == "decoder_only"
