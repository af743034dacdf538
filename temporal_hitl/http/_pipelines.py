"""Which pipelines there are, and what each will walk."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from temporal_hitl._compile import Compiled
from temporal_hitl.http._problems import ProblemRoute, documented, refused
from temporal_hitl.http._service import Here, Viewer
from temporal_hitl.plan import Plan

router = APIRouter(route_class=ProblemRoute, tags=["pipelines"])


class ListedPipeline(BaseModel):
    """One row of the list of pipelines."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    """The Temporal workflow type, and what a run is started by."""
    description: str | None


class Pipeline(ListedPipeline):
    """A pipeline, with what a run that starts now will walk."""

    digest: str
    """The digest of all that the plan says."""
    plan: Plan
    """The tree, with its gates, messages and forms."""


def listed(compiled: Compiled) -> ListedPipeline:
    """Return a definition as a row."""
    definition = compiled.definition
    return ListedPipeline(name=definition.name, description=definition.description)


@router.get("/pipelines", responses=documented())
async def list_pipelines(here: Here, _: Viewer) -> list[ListedPipeline]:
    """Return the pipelines that this service starts runs of."""
    return [listed(each) for each in here.pipelines.values()]


@router.get("/pipelines/{pipeline:path}", responses=documented(404))
async def get_pipeline(pipeline: str, here: Here, _: Viewer) -> Pipeline:
    """Return one pipeline with its plan: the tree, with its gates, messages and forms."""
    compiled = here.pipelines.get(pipeline)
    if compiled is None:
        raise refused(404, f"no pipeline {pipeline!r} here; there are {', '.join(here.pipelines)}")
    row = listed(compiled)
    return Pipeline(**dict(row), digest=compiled.plan.digest, plan=compiled.plan)
