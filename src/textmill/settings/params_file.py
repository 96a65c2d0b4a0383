"""Read and check params.yaml before DVC does: with aliases, a file of a kilobyte can expand to billions of values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from textmill.base.errors import UserError

_MAX_BYTES = 1 << 20
_MAX_VALUES = 100_000  # the default has 400


def read_params(path: Path) -> Any:
    """Return the values of params.yaml.

    Raises UserError as `params_text` does.
    """
    return YAML(typ="safe").load(params_text(path))


def params_text(path: Path) -> str:
    """Return the text of params.yaml.

    Raises UserError if it is missing, is not YAML, or is too large for settings, aliases included. Each level of
    `b: [*a, *a]` doubles the number of values, and DVC copies all of them.
    """
    try:
        text = path.read_text(encoding="utf-8")
        size = len(text) if len(text) > _MAX_BYTES else _num_values(YAML(typ="safe").compose(text), {})
    except FileNotFoundError:
        raise UserError(f"{path.name}: no such file. Run `git checkout {path.name}` to restore it.") from None
    except (YAMLError, ValueError) as error:
        raise UserError(f"{path.name}: not valid YAML ({' '.join(str(error).split())[:300]}). Correct it.") from None
    except RecursionError:
        raise UserError(f"{path.name}: nested too deeply, or an alias contains itself. Settings need neither: correct it.") from None
    if size > _MAX_VALUES:
        raise UserError(f"{path.name}: has more than {_MAX_VALUES} values, with aliases (*name) expanded. Remove what is not a setting.")
    return text


def _num_values(node: Node | None, known: dict[int, int]) -> int:
    """Count the values below a node, each alias as a copy.

    known: counts by the id of the node.
    """
    if node is None or id(node) not in known:
        children: list[Node] = []
        if isinstance(node, SequenceNode):
            children = node.value
        elif isinstance(node, MappingNode):
            children = [child for pair in node.value for child in pair]
        known[id(node)] = 1 + sum(_num_values(child, known) for child in children)
    return known[id(node)]
