"""Which definitions a worker serves, and which function runs behind each activity type now."""

from __future__ import annotations

from collections.abc import Iterable

from temporal_hitl._compile import Compiled, Served, compile_definition, two_of_a_name
from temporal_hitl._source import is_async
from temporal_hitl.errors import DefinitionError
from temporal_hitl.plan import Plan
from temporal_hitl.primitives import Definition, HasRuns, as_definition


class Registry:
    """Holds the definitions that a worker serves; one put again takes the place of its name.

    Lives outside workflows: only activities and the plugin read it, so that replacing an entry
    changes new runs and the functions that are called, never a replay.
    """

    def __init__(
        self, definitions: Iterable[Definition | HasRuns] = (), retired: Iterable[str] = ()
    ) -> None:
        self._compiled: dict[str, Compiled] = {}
        self._retired = tuple(retired)
        for definition in map(as_definition, definitions):
            if not isinstance(definition, Definition):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DefinitionError(
                    f"HitlPlugin(workflows=...): {definition!r} is no pipeline; a class with"
                    " @workflow.defn goes to Worker(workflows=[...])"
                )
            compiled = compile_definition(definition)
            for each in compiled.family:
                if each.name in self._compiled and not self._has(each):
                    raise two_of_a_name(each.name)
            self._put_family(compiled)
        twice = sorted(self._compiled.keys() & set(self._retired))
        if twice:
            raise DefinitionError(f"{twice[0]!r} is both served and retired; choose one")

    def serves(self, definition: Definition) -> bool:
        """Return whether `definition`, and all that is nested in it, was put last of its name."""
        return self._has(definition) and all(
            self._has(each) for each in self._compiled[definition.name].family
        )

    def _has(self, definition: Definition) -> bool:
        there = self._compiled.get(definition.name)
        return there is not None and there.definition is definition

    def put(self, definition: Definition) -> bool:
        """Serve `definition` and what is nested in it; return whether the worker lacks names of it.

        Functions that only a replaced definition has stay: runs that wait on its plan still need
        them.
        """
        return self._put_family(compile_definition(definition))

    def _put_family(self, compiled: Compiled) -> bool:
        nested = [compile_definition(each) for each in compiled.nested.values()]
        return any([self._put(each) for each in (compiled, *nested)])

    def _put(self, new: Compiled) -> bool:
        self._check_foreign(new)
        old = self._compiled.get(new.plan.name)
        self._compiled[new.plan.name] = new
        if old is None:
            return True
        grown = any(
            name not in old.served or is_async(old.served[name].function) != is_async(each.function)
            for name, each in new.served.items()
        )
        new.served = {**old.served, **new.served}
        return grown

    def _check_foreign(self, new: Compiled) -> None:
        others = [each for each in self._compiled.values() if each.plan.name != new.plan.name]
        taken = {name: each.plan.name for each in others for name in each.served}
        for name in new.served:
            if name in taken:
                raise DefinitionError(
                    f"{new.plan.name}: the activity type {name!r} is taken by {taken[name]};"
                    " rename the pipeline or the node"
                )

    def plan(self, name: str) -> Plan:
        """Return the current plan of the pipeline `name`; raises `DefinitionError` if retired."""
        if name not in self._compiled:
            raise DefinitionError(f"{name} is retired: runs that wait go on, new ones do not start")
        return self._compiled[name].plan

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The current plans of what is served."""
        return tuple(each.plan for each in self._compiled.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The pipelines that are served, retired ones included."""
        return (*self._compiled, *self._retired)

    @property
    def served(self) -> dict[str, Served]:
        """Every function that is served now, by activity type."""
        return {
            name: each
            for compiled in self._compiled.values()
            for name, each in compiled.served.items()
        }
