"""Watching a notification or a request until all of it is final: what `watch` and `send --watch` share."""

from typing import Any

import msgspec

from api.cli.gateway import ask
from api.cli.resuming import Resumed
from api.cli.running import run
from api.cli.show import console
from api.cli.views import JsonLines, Lines, LiveTable, ProgressBar, View
from domain.ids import NOTIFICATION, is_id

_ABOUT = "id channel status reason provider created_at recipient { user_id email }"
_EVENT = "cursor notification_id sequence channel status reason attempt provider occurred_at"

GET_NOTIFICATION = f"""query ($id: ID!) {{
  notification(id: $id) {{ success message data {{ {_ABOUT} }} }} }}"""
GET_REQUEST = f"""query ($id: String!) {{
  request(request_id: $id) {{ success message data {{
    counts {{ status count }} notifications(limit: 20) {{ data {{ {_ABOUT} }} }} }} }} }}"""
WATCH_NOTIFICATION = f"""subscription ($id: ID!, $after: String, $follow: Boolean!) {{
  notification_status(id: $id, after: $after, follow: $follow) {{ {_EVENT} }} }}"""
WATCH_REQUEST = f"""subscription ($id: String!, $after: String, $follow: Boolean!) {{
  request_status(request_id: $id, after: $after, follow: $follow) {{ {_EVENT} }} }}"""
WATCH_PROGRESS = """subscription ($id: String!) {
  request_progress(request_id: $id) { total percent counts { status count } } }"""

FEW = 12
"""Notifications that fit a line each on a terminal."""
ARRIVED = frozenset({"SENT", "DELIVERED"})


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched, and how."""

    id: str
    after: str = ""
    follow: bool = False
    as_json: bool = False
    url: str
    key: str

    def to_the_end(self) -> bool:
        """Show everything until all of it is final; whether everything was sent.

        Fails at once where there is no such thing. When a connection is lost, it comes back and goes on without a gap.
        """
        notifications, counts = self._now()
        view = self._view(notifications, sum(counts.values()))
        run(lambda: self._show(view))
        return set(self._now()[1]) <= ARRIVED

    def _now(self) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """The notifications, the first twenty, and how many there are of each status."""
        if is_id(NOTIFICATION, self.id):
            found = ask(self.url, self.key, GET_NOTIFICATION, {"id": self.id})["data"]
            return [found], {found["status"]: 1}
        found = ask(self.url, self.key, GET_REQUEST, {"id": self.id})["data"]
        return found["notifications"]["data"], {each["status"]: each["count"] for each in found["counts"]}

    def _view(self, notifications: list[dict[str, Any]], total: int) -> View:
        out = console()
        if self.as_json:
            return JsonLines()
        if out.is_terminal and total <= FEW:
            return LiveTable(out, notifications)
        # Who resumes or follows on wants the events themselves.
        return ProgressBar(out, total) if out.is_terminal and not (self.after or self.follow) else Lines(out)

    async def _show(self, view: View) -> None:
        with view.showing():
            await self._subscription(view).each(view.show)

    def _subscription(self, view: View) -> Resumed:
        if isinstance(view, ProgressBar):
            return Resumed(WATCH_PROGRESS, {"id": self.id}, self.url, self.key, say=view.note)
        query = WATCH_NOTIFICATION if is_id(NOTIFICATION, self.id) else WATCH_REQUEST
        variables = {"id": self.id, "follow": self.follow}
        return Resumed(query, variables, self.url, self.key, after=self.after, say=view.note)
