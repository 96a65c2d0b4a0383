"""Reading params.yaml without DVC, before DVC does: a file of a kilobyte can hold a list of lists of lists that never ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from textmill.base.errors import UserError

_MAX_BYTES = 1 << 20
_MAX_VALUES = 100_000  # the default has 400


def read_params(path: Path) -> Any:
    """The values of params.yaml. Raises UserError as `params_text` does."""
    return YAML(typ="safe").load(params_text(path))


def params_text(path: Path) -> str:
    """The text of params.yaml.

    Raises UserError if it is missing, is no YAML, is larger than any settings are, or has aliases that make it so: each
    level of `b: [*a, *a]` doubles the values, and DVC makes a copy of every one of them.
    """
    try:
        text = path.read_text(encoding="utf-8")
        size = len(text) if len(text) > _MAX_BYTES else _num_values(YAML(typ="safe").compose(text), {})
    except FileNotFoundError:
        raise UserError(f"{path.name}: no such file. `git checkout {path.name}` brings it back.") from None
    except (YAMLError, ValueError) as error:
        raise UserError(f"{path.name}: not valid YAML ({' '.join(str(error).split())[:300]}). Correct it.") from None
    except RecursionError:
        raise UserError(f"{path.name}: is nested too deeply, or has an alias inside itself. No setting is.") from None
    if size > _MAX_VALUES:
        raise UserError(
            f"{path.name}: has more than {_MAX_VALUES} values, aliases (*name) counted as what they stand for. No settings have."
        )
    return text


def _num_values(node: Node | None, known: dict[int, int]) -> int:
    """Values below a node, with each alias counted as a copy. known: by id of the nodes that have been counted."""
    if node is None or id(node) not in known:
        children: list[Node] = []
        if isinstance(node, SequenceNode):
            children = node.value
        elif isinstance(node, MappingNode):
            children = [child for pair in node.value for child in pair]
        known[id(node)] = 1 + sum(_num_values(child, known) for child in children)
    return known[id(node)]
