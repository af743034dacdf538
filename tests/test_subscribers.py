"""Authors name subscribers, and the worker's environment says who they are."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker, WorkerConfig

from temporal_hitl import HitlPlugin, HumanReview, Loop, Step, Workflow
from temporal_hitl._notices import Event, Notice
from temporal_hitl._subscribers import default_subscribers
from temporal_hitl.errors import DefinitionError
from temporal_hitl.notifications import _sending
from temporal_hitl.notifications._subscribers import CannotTell, Subscriber, subscriber
from temporal_hitl.notifications._texts import body, link, text, title
from temporal_hitl.plan import Plan
from temporal_hitl.requirements import Confirmation
from temporal_hitl.review import OnTimeout
from tests.sink import SECRET
from tests.stage import new_queue, serving
from tests.told_by_hand import Misspelled, Refund

PAGE = Path(__file__).parent.parent / "docs" / "notifications.md"
URL = "slack://token-a/token-b"
NOTICE = Notice(
    id="evt_1",
    event=Event.opened,
    at=datetime(2026, 1, 2, tzinfo=UTC),
    run_id="run 1/ü",
    chain="c",
    pipeline="pay",
    requirement_id="refund~2",
    kind="confirmation",
    path="refund",
    name="refund",
    message="Pay?\nReally?",
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
)


def act() -> str:
    return "done"


def asks(**options: Any) -> Step:
    return Step("ask", act, requires_confirmation=True, **options)


@pytest.mark.parametrize("wrong", [
    (lambda: asks(notify=[URL]), "that is a URL"),
    (lambda: HumanReview(requires_confirmation=True, notify=[URL]), "that is a URL"),
    (lambda: Workflow("w", [asks()], notify=["ops", f"webhook+{URL}"]), "that is a URL"),
    (lambda: asks(notify="managers"), "write a list of names"),
    (lambda: asks(notify=["Managers"]), "small letters"),
    (lambda: asks(notify=[7]), "small letters"),
    (lambda: asks(notify=["ops_secret"]), "the secret of another one"),
    (lambda: asks(notify_before=5), "counts back from the deadline"),
    (lambda: asks(notify_before=5, hitl_timeout=5), "counts back from the deadline"),
    (lambda: asks(notify=["ops"], human_review=HumanReview(notify=["ops"])), "twice"),
])  # fmt: skip
def test_refused_at_construction(wrong: Any) -> None:
    """What is no list of names is refused where it is written; a URL is not repeated, and the error
    says where it belongs.
    """
    make, says = wrong
    with pytest.raises(DefinitionError, match=says) as refused:
        make()

    assert "token" not in str(refused.value)
    assert "URL" not in says or "HITL_NOTIFY_MANAGERS=" in str(refused.value)


def test_both_spellings() -> None:
    """Flat keywords and a `HumanReview` say the same, on every node, and the plan records it."""
    flat = asks(notify=["b", "a", "b"], notify_before=timedelta(minutes=5), hitl_timeout=3600)
    review = HumanReview(
        requires_confirmation=True, notify=("b", "a"), notify_before=300, timeout=3600
    )
    loop = Loop([Step("inner", act)], name="loop", requires_iteration_review=True, notify=[])
    definition = Workflow(
        "w", [flat, Step("whole", act, human_review=review), loop], notify=["ops"]
    )
    plan = Plan.model_validate(definition.plan.model_dump(mode="json"))

    assert [(("b", "a"), 300.0), (("b", "a"), 300.0), ((), None)] == [
        (each.review.notify, each.review.notify_before) for each in plan.children
    ]
    assert ("ops",) == plan.notify


def test_older_records() -> None:
    """Plans and requirements from before notifications are read, and tell nobody by themselves."""
    definition = Workflow("w", [asks()])
    data = definition.plan.model_dump(mode="json", exclude={"notify"})
    asked = Confirmation(id="a", path="a", name="a", message="?", created_at=NOTICE.at).sealed()
    old = asked.model_dump(mode="json", exclude={"notify"})

    assert "notify" not in str(data)
    assert definition.plan == Plan.model_validate(data)
    assert asked == Confirmation.model_validate(old)
    assert asked.digest == asked.model_copy(update={"notify": ("ops",)}).sealed().digest


def test_the_environment() -> None:
    """Names stand for URLs separated by white space, with a secret of their own; a name that stands
    for nothing is told with what to set.
    """
    there = {
        "HITL_NOTIFY_ON_CALL": f" {URL}\n webhook+https://x ",
        "HITL_NOTIFY_ON_CALL_SECRET": SECRET,
    }
    found = subscriber("on-call", there)
    with pytest.raises(CannotTell, match="set HITL_NOTIFY_OPS to its apprise URLs"):
        subscriber("ops", there)
    with pytest.raises(DefinitionError, match="HITL_NOTIFY: that is a URL"):
        default_subscribers({"HITL_NOTIFY": URL})

    assert ((URL, "webhook+https://x"), SECRET) == (found.urls, found.secret)
    assert "Subscriber(name='on-call')" == repr(found)
    assert ("managers", "ops") == default_subscribers({"HITL_NOTIFY": " managers,ops managers "})
    assert () == default_subscribers({})


def test_what_it_says() -> None:
    """A title is one line; a link is quoted, and nothing but a page's address."""
    at = {"HITL_URL": "https://hitl.example.com/team/"}
    late = NOTICE.model_copy(update={"deadline": NOTICE.at, "on_timeout": OnTimeout.skip})
    strange = NOTICE.model_copy(update={"name": "pay\r\nBcc: all@example.com"})

    assert (
        "https://hitl.example.com/team/inbox/runs/run%201%2F%C3%BC/requirements/refund~2"
        == link(NOTICE, at)
    )
    assert None is link(NOTICE, {})
    assert "Waits for a decision: pay, pay Bcc: all@example.com" == title(strange)
    assert "then the deadline acts: skip" in text(late)
    assert text(NOTICE).endswith("temporal-hitl show 'run 1/ü' 'refund~2'")


@pytest.mark.parametrize(("url", "secret", "why"), [
    ("webhook+https://127.0.0.1:1/x", None, "set HITL_NOTIFY_OPS_SECRET to whsec_..."),
    ("webhook+https://127.0.0.1:1/x", "whsec_", "HITL_NOTIFY_OPS_SECRET is no secret of webhooks"),
    ("webhook+https://127.0.0.1:1/x", SECRET, "no answer: "),
    ("webhook+nonsense", SECRET, "no answer: "),
    ("https+webhook://x", SECRET, "webhooks are spelled webhook+https://"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_what_cannot_be_sent(url: str, secret: str | None, why: str) -> None:
    """What cannot be sent says why and what to set, and repeats neither the URL nor the secret."""
    with pytest.raises(CannotTell) as cannot:
        _sending.send(NOTICE, Subscriber("ops", (url,), secret), url)

    assert why in str(cannot.value)
    assert not any(each in str(cannot.value) for each in ("127.0.0.1", "nonsense", SECRET))
    assert None is cannot.value.__cause__ is cannot.value.__context__


@pytest.mark.parametrize("package", ["apprise", "requests", "standardwebhooks"])
def test_a_missing_package(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, what is to be sent says which one to install."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "standardwebhooks.webhooks", None)
    url = "json://127.0.0.1:1" if package == "apprise" else "webhook+http://127.0.0.1:1"
    with pytest.raises(CannotTell, match=r"pip install 'temporal-hitl\[notify\]'"):
        _sending.send(NOTICE, Subscriber("ops", (url,), SECRET), url)


@activity.defn(name="own")
async def own() -> None: ...


@pytest.mark.parametrize(("workflows", "activities", "served", "environment", "runs", "tells"), [
    ([], [own], (), {}, [], True),
    ([Refund], [], (), {}, ["Refund", "Notification"], False),
    ([Refund], [], (), {"HITL_NOTIFY_OPS": "json://x"}, ["Refund", "Notification"], True),
    ([Refund], [own], (), {}, ["Refund", "Notification"], True),
    ([], [], (Workflow("w", [asks()]),), {}, ["Pipeline", "Notification"], True),
])  # fmt: skip
def test_what_a_worker_serves(
    workflows: list[type],
    activities: list[Any],
    served: tuple[Workflow, ...],
    environment: dict[str, str],
    runs: list[str],
    tells: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker that runs activities alone takes no workflows, and one that runs workflows alone
    tells nobody unless it is told whom to tell: others of its queue do.
    """
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = WorkerConfig(workflows=workflows, activities=activities)  # pyright: ignore[reportCallIssue]
    configured = HitlPlugin(workflows=served).configure_worker(config)
    names = [each.__name__ for each in configured.get("activities", ())]

    assert runs == [each.__name__ for each in configured.get("workflows", ())]
    assert [tells, tells] == [name in names for name in ("tell", "is_open")]


def test_the_page_about_it() -> None:
    """The programs of docs/notifications.md run: the pipeline tells whom it says, and the receiver
    takes what we sign once, and nothing that was changed.
    """
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    now, content, seen = datetime.now(UTC), body(NOTICE), set[str]()
    signature = Webhook(SECRET).sign("evt_1", now, content)
    stamps = {"webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    headers = {"webhook-id": "evt_1", **stamps}
    told = [names["received"](content.encode(), headers, SECRET, seen) for _ in range(2)]
    with pytest.raises(WebhookVerificationError):
        names["received"](content.replace("Pay", "Play").encode(), headers, SECRET, seen)

    assert 2 == len(blocks)
    assert ["requirement.opened: refund~2", None] == told
    assert [("managers",), ("desk", "managers"), None, ()] == [
        each.review.notify for each in names["workflow"].plan.children
    ]


async def test_a_bad_default_stops_the_worker(
    env: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose `HITL_NOTIFY` is wrong does not start: its runs could not look their plans
    up.
    """
    monkeypatch.setenv("HITL_NOTIFY", "mailto://me:secret@example.com")
    plugin = HitlPlugin(workflows=[Workflow("w", [asks()])])
    worker = Worker(env.client, task_queue=new_queue(), plugins=[plugin])
    with pytest.raises(DefinitionError, match="HITL_NOTIFY: that is a URL"):
        await worker.run()


async def test_refused_by_a_gate(env: WorkflowEnvironment) -> None:
    """A gate that is given a URL ends its run with the sentence, and without the URL."""
    async with serving(env, workflows=[Misspelled]) as client:
        run = await client.start("Misspelled", None)
        with pytest.raises(WorkflowFailureError) as failed:
            await client.handle(run).result()
    cause = failed.value.cause

    assert isinstance(cause, ApplicationError)
    assert "confirmation: notify: that is a URL" in cause.message
    assert "token" not in cause.message
