"""Initial values and loading of the parts that classes of users add to a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, cast

from torch import nn

from beit.models_torch.published_methods import PublishedMethods
from beit.weights import Entry, LoadReport
from beit.weights.match import Shape

_DRAWN = "_has_initial_values"  # a mark on modules, so that none is drawn twice
_PACKAGE = __name__.partition(".")[0]


class DerivedModel(PublishedMethods):
    """Base of models that others derive classes from, with heads and layers of their own.

    Attributes:
        _keys_to_ignore_on_load_missing: Patterns of parameters that a checkpoint may lack without a word.
        _keys_to_ignore_on_load_unexpected: Patterns of tensors that a checkpoint may have in excess without a word.
    """

    _keys_to_ignore_on_load_missing: ClassVar[list[str] | None] = None
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str] | None] = None

    def post_init(self) -> None:
        """Initialise the modules that a derived class has added; the last line of its constructor."""
        if any(parameter.is_meta for parameter in self.parameters()):
            return  # as in `initialise_weights`
        for module in self.modules():
            if module is self or not hasattr(module, _DRAWN):
                self._init_weights(module)
                _mark(module)

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise what one module holds itself; classes that override it decide for their own modules."""
        from beit.models_torch.initialisation import initialise_module  # as in `initialise_weights`

        initialise_module(module, self.config.initializer_range)

    def _initialise(self, modules: Sequence[nn.Module]) -> None:
        overridden = type(self)._init_weights is not DerivedModel._init_weights
        if not overridden:
            super()._initialise(modules)
        for part in {part: None for module in modules for part in module.modules()}:
            if overridden:
                self._init_weights(part)
            _mark(part)

    @classmethod
    def _is_derived(cls) -> bool:
        """Return whether the class is one of a user."""
        return cls.__module__.partition(".")[0] != _PACKAGE

    @classmethod
    def _without_ignored(cls, report: LoadReport) -> LoadReport:
        """Return a report without the differences that the class asks not to hear of."""
        missing = [name for name in report.missing if not _found(cls._keys_to_ignore_on_load_missing, name)]
        ignored = set(report.missing) - set(missing)
        return replace(
            report,
            missing=missing,
            unexpected=[name for name in report.unexpected if not _found(cls._keys_to_ignore_on_load_unexpected, name)],
            new=[name for name in report.new if name not in ignored],
        )


def own_names(tensors: Mapping[str, Entry], shapes: Mapping[str, Shape]) -> dict[str, Entry]:
    """Return tensors with those of parts that a derived class has added to a bare encoder under their own names."""
    plain = {name: name.removeprefix("head:") for name in tensors}
    return {plain[name] if plain[name] in shapes else name: tensor for name, tensor in tensors.items()}


def _mark(module: nn.Module) -> None:
    setattr(module, _DRAWN, True)


def _found(patterns: Sequence[str] | None, name: str) -> bool:
    return any(re.search(pattern, name) for pattern in cast("Sequence[str]", patterns or ()))
