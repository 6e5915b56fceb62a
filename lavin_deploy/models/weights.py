"""Named tensors from weight files as people have them, and the names that a module asks for.

Read are safetensors, whole or in shards with an ``.index.json``, and pickles of nothing but
tensors, numbers and texts, opened with ``weights_only=True``. What a file holds is told from its
first bytes. Nested dictionaries come out flat, their keys joined by dots; so what a wrapper put
before a name and the dictionary of a training's state that a name lies in are one thing: a prefix.
"""

from __future__ import annotations

import difflib
import json
import logging
import pickle
import pickletools
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from lavin_deploy.errors import CheckpointError
from lavin_deploy.stand_ins import HEAD, stand_in

INDEX = ".index.json"
"""Ending of the file that says in which shard a tensor lies."""
SHOWN = 3
"""Names that a sentence lists."""
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_AVERAGED = re.compile(r"(^|[._])ema([._]|$)")

_log = logging.getLogger(__name__)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read tensors by their dotted names; those that are mapped from their file stay so.

    Args:
        path: a weight file, or the index of shards that lie beside it.

    Raises:
        CheckpointError: a file is missing, damaged or no weights, or it holds code.
    """
    state: dict[str, Tensor] = {}
    for file in weight_files(path):
        state |= _read_file(file)
    return {_unwrapped(name): tensor for name, tensor in state.items()}


def read_tensor(path: Path, name: str) -> Tensor | None:
    """Read the tensor of that name, under any prefix; of safetensors nothing else is read.

    Raises:
        CheckpointError: what :func:`read_state` raises.
    """
    try:
        for file in weight_files(path):
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118
                    if f".{_unwrapped(key)}".endswith(f".{name}"):
                        tensor: Tensor = opened.get_tensor(key)
                        return tensor
        return None
    except (SafetensorError, OSError):
        state = read_state(path)  # a pickle, or damaged: then this says how
    return next((tensor for key, tensor in state.items() if f".{key}".endswith(f".{name}")), None)


def weight_files(path: Path) -> list[Path]:
    """The files that hold tensors: the path itself, or the shards of an index.

    Raises:
        CheckpointError: the index is damaged or a shard is missing.
    """
    if not path.name.endswith(INDEX):
        return [path]
    index = read_json(path)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(each, str) for each in shards.values()):
        raise CheckpointError(f"{path} is no index of shards: it has no 'weight_map'.")
    names = sorted(set(shards.values()))
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(f"{path} names the shard {name!r}, which does not lie beside it.")
        if not (path.parent / name).is_file():
            raise CheckpointError(
                f"{path} names the shard {name!r}, which is missing; copy or download it too."
            )
    return [path.parent / name for name in names]


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8, -16 or -32, with or without a byte order mark.

    Raises:
        CheckpointError: it is something else.
    """
    content = path.read_bytes()
    _check_is_itself(path, content[:HEAD])
    try:
        return json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from error


def named_for(
    expected: Collection[str], state: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Return the tensors of a module by its own names, without the prefix that they have.

    Of several whole sets the averaged one (``ema.``) is taken, with a notice; what else lies under
    other prefixes, such as an optimizer's state, is left out.

    Args:
        expected: names of the module.
        state: from :func:`read_state`.
        path: that it was read from.

    Raises:
        CheckpointError: there are several whole sets, and not one of them is averaged.
    """
    names = set(expected)
    votes = Counter(prefix for name in state for prefix in _prefixes(name, names))
    if not votes:
        return dict(state)
    most = max(votes.values())
    sets = sorted(prefix for prefix, count in votes.items() if 2 * count >= most)
    best = [prefix for prefix in sets if votes[prefix] == most]
    if len(best) > 1:
        best = [prefix for prefix in best if _AVERAGED.search(prefix)]
    if len(best) != 1:
        raise CheckpointError(
            f"{path} holds several sets of weights, {_listed([f'{p}*' for p in sets])}; save the "
            "one that shall be used in a file of its own."
        )
    (chosen,) = best
    if len(sets) > 1:
        listed = _listed([f"{prefix}*" for prefix in sets])
        _log.warning("%s holds the weights %s: %s* are taken.", path, listed, chosen)
    return {
        name.removeprefix(chosen): tensor
        for name, tensor in state.items()
        if name.startswith(chosen)
    }


def check_names(expected: Collection[str], state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors of other names than a module's.

    Raises:
        CheckpointError: naming what is missing, what is unknown, and what that may have meant.
    """
    missing = [name for name in expected if name not in state]
    extra = [name for name in state if name not in set(expected)]
    if not missing and not extra:
        return
    parts = [f"lacks {_listed(missing)}"] if missing else []
    if extra:
        near = difflib.get_close_matches(extra[0], missing, n=1, cutoff=0.8)
        hint = f" (did you mean {near[0]}?)" if near else ""
        parts.append(f"has unknown {_listed(extra)}{hint}")
    raise CheckpointError(
        f"{path} does not fit this model: it {' and '.join(parts)}; check config.json."
    )


def as_float32(name: str, tensor: Tensor, path: Path) -> Tensor:
    """Return a tensor of any floating type as float32; a float32 one stays where it is.

    Raises:
        CheckpointError: it is of another type, or a value is not finite.
    """
    try:
        values = tensor.float() if tensor.is_floating_point() else None
    except (RuntimeError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path}: {name} is {tensor.dtype}, which torch cannot turn to float32; save the "
            "weights in float16, bfloat16 or float32."
        ) from error
    if values is None or not torch.isfinite(values).all():
        raise CheckpointError(
            f"{path}: {name} holds NaN, infinity or integers; the file is damaged or the "
            "training diverged."
        )
    return values


def _read_file(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        head = file.read(HEAD)
    _check_is_itself(path, head)
    protocol = head[1] if len(head) > 1 and head[:1] == pickle.PROTO else None
    pickled = head[:4] == b"PK\x03\x04" or (
        protocol is not None and protocol <= pickle.HIGHEST_PROTOCOL
    )
    try:
        if head[8:9] == b"{" or (path.suffix == ".safetensors" and not pickled):
            tensors: dict[str, Tensor] = load_file(path)
            return tensors
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other pickle protocols; what matters is below
            if path.suffix == ".safetensors":  # torch would go by the name
                with path.open("rb") as file:
                    loaded = torch.load(file, map_location="cpu", weights_only=True)
            else:
                mapped = zipfile.is_zipfile(path)  # pickles of old versions cannot be
                loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged pickle can raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        if isinstance(error, pickle.UnpicklingError) and (pickled or _names_a_global(path)):
            raise CheckpointError(
                f"{path} was refused: it holds something else than tensors, and such a file can "
                "run code when opened; save its state_dict alone, or ask its author for "
                "safetensors."
            ) from error
        raise CheckpointError(
            f"{path} cannot be read as weights: {reason}; copy or download it again."
        ) from error
    state = dict(_tensors(loaded)) if isinstance(loaded, Mapping) else {}
    if not state:
        raise CheckpointError(f"{path} must hold a state dict of tensors, or one as 'state_dict'.")
    return state


def _names_a_global(path: Path) -> bool:
    """Whether a file is a pickle, of the oldest protocol too, that names a class or a function."""
    with path.open("rb") as file, suppress(ValueError, OverflowError, MemoryError):
        return any(code.name.endswith("GLOBAL") for code, _, _ in pickletools.genops(file))
    return False


def _check_is_itself(path: Path, head: bytes) -> None:
    if what := stand_in(head):
        raise CheckpointError(f"{path} {what}")


def _tensors(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for key, value in tree.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping):
            yield from _tensors(value, f"{prefix}{key}.")


def _unwrapped(name: str) -> str:
    """A name without what torch.compile and wrappers of blocks put between its parts."""
    if not any(wrapper in name for wrapper in _WRAPPERS):
        return name
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _prefixes(name: str, names: Collection[str]) -> Iterator[str]:
    """What is before each ending of a name that a module has."""
    start = 0
    while True:
        if name[start:] in names:
            yield name[:start]
        start = name.find(".", start) + 1
        if not start:
            return


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
