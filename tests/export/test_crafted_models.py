"""Maliciously crafted models with a valid manifest: each is refused in one line, and none crashes a process with little memory."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import sentencepiece_model_pb2
from test_export import exported

from textmill.base.errors import UserError
from textmill.base.files import read_json, sha256_of, write_json
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.interface import Seq2SeqModel
from textmill.serving.text_model import TextModel
from textmill.tokenizer.tokenizer import Tokenizer

_LOAD = """
import resource, sys
from pathlib import Path
from textmill.base.errors import UserError
from textmill.serving.text_model import TextModel
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), resource.RLIM_INFINITY))
for folder in sorted(Path(sys.argv[1]).iterdir()):
    print(folder.name, end=": ", flush=True)  # the last words of a process that ends inside a library
    try:
        TextModel.load(folder).generate(["Open the file"])
    except UserError as error:
        print("refused" if "\\n" not in str(error) and str(folder) in str(error) else f"other message {error!r}")
    else:
        print("loaded")
"""


def outcomes(good: Path, name: str, contents: dict[str, bytes]) -> dict[str, str]:
    """Load the model in `good` with each of `contents` as its file `name`, all in one process, and return the results."""
    folders = good.parent / "crafted"
    for case, content in contents.items():
        shutil.copytree(good, folders / case)
        (folders / case / name).write_bytes(content)
        with pytest.raises(UserError, match=r"differs from manifest\.json"):
            TextModel.load(folders / case)
        manifest = read_json(good / "manifest.json")
        manifest["files"][name] = sha256_of(folders / case / name)
        write_json(folders / case / "manifest.json", manifest)
    environment = {**os.environ, "PYTHONPATH": str(Path("src").resolve()), "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, str(folders)], env=environment, capture_output=True, text=True, check=False, timeout=3600
    )
    assert done.returncode == 0, (done.stdout.split("\n")[-1], done.stderr[-2000:])
    return dict(line.split(": ") for line in done.stdout.splitlines())


def test_no_size_in_a_crafted_model_ends_the_process(
    model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Format of model.bin: version, name, revision, number of variables; then name, dimensions, type, size and content of each."""
    folder = exported(tmp_path, model, corpus, tokenizer)
    content = (folder / "model.bin").read_bytes()
    variables = content.index(b"TransformerSpec\0") + 20
    rank = content.index(b"decoder/embeddings/weight\0") + 26
    assert content[rank] == 2 and struct.unpack_from("<2I", content, rank + 1) == (len(tokenizer.pieces), 16)

    def put(place: int, layout: str, *numbers: int) -> bytes:
        return content[:place] + struct.pack(layout, *numbers) + content[place + struct.calcsize(layout) :]

    huge = 0xFFFFFFFF
    crafted = {
        "rows 2^31": put(rank + 1, "<I", 1 << 31),
        "rows 2^32-1": put(rank + 1, "<I", huge),
        "both 2^32-1": put(rank + 1, "<2I", huge, huge),
        "product 2^63": put(rank + 1, "<2I", 1 << 31, huge),
        "product wraps": put(rank + 1, "<2I", 1 << 31, 1 << 31),
        "rank 255": put(rank, "<B", 255),
        "rank 0": put(rank, "<B", 0),
        "type 200": put(rank + 9, "<B", 200),
        "bytes 2^31": put(rank + 10, "<I", 1 << 31),
        "bytes 2^32-1": put(rank + 10, "<I", huge),
        "bytes 0": put(rank + 10, "<I", 0),
        "variables 2^32-1": put(variables, "<I", huge),
        "variables 0": put(variables, "<I", 0),
        "revision": put(variables - 4, "<I", huge),
        "name of 65535": put(4, "<H", 0xFFFF),
        "half": content[: len(content) // 2],
        "empty": b"",
    }
    assert outcomes(folder, "model.bin", crafted) == dict.fromkeys(crafted, "refused")


def test_no_crafted_tokenizer_ends_the_process(model: Seq2SeqModel, corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path: Path) -> None:
    def crafted(edit: Callable[[Any], object]) -> bytes:
        proto = sentencepiece_model_pb2.ModelProto()
        proto.ParseFromString(tokenizer.model)
        edit(proto)
        return bytes(proto.SerializeToString())

    def charsmap(content: bytes) -> bytes:
        return crafted(lambda proto: setattr(proto.normalizer_spec, "precompiled_charsmap", content))

    def piece(text: str) -> bytes:
        return crafted(lambda proto: setattr(proto.pieces[300], "piece", text))

    refused = {
        "piece of 100 kB": piece("a" * 100_000),
        "piece of 4 MB": piece("ab" * 2_000_000),
        "piece of nothing": piece(""),
        "piece with NUL": piece("a\0b"),
        "piece twice": piece(tokenizer.pieces[301]),
        "score that is no number": crafted(lambda proto: setattr(proto.pieces[300], "score", float("nan"))),
        "no pieces": crafted(lambda proto: proto.ClearField("pieces")),
        "charsmap cut": charsmap(b"\xff\xff\xff\x7f"),
        "charsmap 2^32-1": charsmap(b"\xff" * 4000),
        "charsmap of ones": charsmap((1024).to_bytes(4, "little") + b"\xff" * 1024 + b"abc"),
        "charsmap of zeros": charsmap((1024).to_bytes(4, "little") + bytes(1024)),
    }
    harmless = {
        "vocabulary 2^31-1": crafted(lambda proto: setattr(proto.trainer_spec, "vocab_size", (1 << 31) - 1)),
        "unknown 2^31-1": crafted(lambda proto: setattr(proto.trainer_spec, "unk_id", (1 << 31) - 1)),
    }
    found = outcomes(exported(tmp_path, model, corpus, tokenizer), "tokenizer.model", refused | harmless)
    assert found == dict.fromkeys(refused, "refused") | dict.fromkeys(harmless, "loaded")
