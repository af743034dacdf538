"""Which definitions a worker serves, and which function runs behind each activity type now."""

from __future__ import annotations

from collections.abc import Iterable

from temporal_hitl._source import is_async
from temporal_hitl.errors import DefinitionError
from temporal_hitl.plan import Compiled, Plan, Served, compile_definition
from temporal_hitl.primitives import Definition


class Registry:
    """Holds the definitions that a worker serves; one put again takes the place of its name.

    Lives outside workflows: only activities and the plugin read it, so that replacing an entry
    changes new runs and the functions that are called, never a replay.
    """

    def __init__(self, definitions: Iterable[Definition] = (), retired: Iterable[str] = ()) -> None:
        self._compiled: dict[str, Compiled] = {}
        self._retired = tuple(retired)
        for definition in definitions:
            if not isinstance(definition, Definition):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DefinitionError(
                    f"HitlPlugin(workflows=...): {definition!r} is no pipeline; a class with"
                    " @workflow.defn goes to Worker(workflows=[...])"
                )
            if definition.name in self._compiled:
                raise DefinitionError(
                    f"two pipelines are called {definition.name!r}; a worker serves one of a name"
                )
            self.put(definition)
        twice = sorted(self._compiled.keys() & set(self._retired))
        if twice:
            raise DefinitionError(f"{twice[0]!r} is both served and retired; choose one")

    def put(self, definition: Definition) -> bool:
        """Serve `definition`, and return whether the worker lacks names of it.

        Functions that only the replaced definition has stay: runs that wait on its plan still need
        them.
        """
        new = compile_definition(definition)
        self._check_foreign(new)
        old = self._compiled.get(definition.name)
        self._compiled[definition.name] = new
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
