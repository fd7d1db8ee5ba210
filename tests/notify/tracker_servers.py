"""GitHub and Jira as far as tickets go: real local servers that check what they are asked against the documentation."""

import base64
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fault_server import FaultServer, Mode, Received, Reply

__all__ = ["GitHubServer", "Issue", "JiraServer", "TrackerServer"]

TOKEN = "t0ken"  # noqa: S105  # of servers that live for a test
LOST = Reply(mode=Mode.RESET)
"""An answer that does not arrive."""


@dataclass
class Issue:
    number: int
    title: str
    text: str
    labels: list[str]
    fields: Mapping[str, Any] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    closed: bool = False


class TrackerServer(FaultServer):
    """Keeps issues; a test says which request fails, before or after it is done."""

    def __init__(self) -> None:
        super().__init__()
        self.issues: list[Issue] = []
        self.problems: list[str] = []
        """What was asked otherwise than the documentation says."""
        self.faults: dict[str, Reply] = {}
        """`METHOD what` -> what the next such request is answered instead of being done."""
        self.lost: set[str] = set()
        """`METHOD what`: the next such request is done, and its answer is lost."""
        self.blind = False
        """Whether the search does not show what is new."""

    def reply_to(self, request: Received) -> Reply:
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        what = f"{request.method} {self.kind_of(parts.path)}"
        if what in self.faults:
            return self.faults.pop(what)
        if not self.may(request):
            return said(401, {"message": "Bad credentials"})
        body = json.loads(request.body) if request.body else None
        reply = self.done(request.method, parts.path, query, body)
        if what in self.lost:
            self.lost.discard(what)
            return LOST
        return reply

    def kind_of(self, path: str) -> str:
        raise NotImplementedError

    def may(self, request: Received) -> bool:
        raise NotImplementedError

    def done(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Reply:  # noqa: ANN401  # JSON
        raise NotImplementedError

    def check(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)

    def made(self, title: str, text: str, labels: list[str], fields: Mapping[str, Any]) -> Issue:
        issue = Issue(len(self.issues) + 1, title, text, labels, fields)
        self.issues.append(issue)
        return issue


class GitHubServer(TrackerServer):
    """Issues of acme/llm."""

    def kind_of(self, path: str) -> str:
        return re.sub(r"^/repos/acme/llm/", "", re.sub(r"/\d+", "/N", path))

    def may(self, request: Received) -> bool:
        self.check(request.headers.get("accept") == "application/vnd.github+json", "accept")
        self.check(request.headers.get("x-github-api-version") == "2022-11-28", "version")
        self.check(request.headers.get("user-agent", "").startswith("tocsin/"), "GitHub refuses who has no name")
        return request.headers.get("authorization") == f"Bearer {TOKEN}"

    def done(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Reply:  # noqa: ANN401  # JSON
        number = next((int(one) for one in re.findall(r"/issues/(\d+)", path)), 0)
        if number and not 1 <= number <= len(self.issues):
            return said(404, {"message": "Not Found"})
        match method, self.kind_of(path):
            case "GET", "issues":
                asked = {"state", "sort", "direction", "per_page", "page"} | ({"since"} & query.keys())
                self.check(set(query) == asked and query["state"] in ("all", "open"), "list")
                since = query.get("since", "2026-01-06T03:14:10Z")
                self.check(bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", since)), "since")
                size, page = int(query["per_page"]), int(query["page"])
                self.check(size <= 100, "per_page")
                shown = [one for one in self.issues[::-1] if query["state"] == "all" or not one.closed]
                newest = shown[size * (page - 1) : size * page]
                return said(200, [self.shown(issue) for issue in newest])
            case "GET", "/search/issues":
                self.check("repo:acme/llm" in query["q"] and "is:issue" in query["q"], "search")
                [word] = re.findall(r'"(\w+)"', query["q"])
                found = [] if self.blind else [self.shown(one) for one in self.issues if word in one.text]
                return said(200, {"total_count": len(found), "incomplete_results": False, "items": found})
            case "POST", "issues":
                self.check(set(body) == {"title", "body", "labels"}, "fields of an issue")
                self.check(0 < len(body["title"]) <= 256 and len(body["body"]) <= 65_536, "lengths")
                return said(201, self.shown(self.made(body["title"], body["body"], body["labels"], {})))
            case "POST", "issues/N/comments":
                self.check(set(body) == {"body"} and bool(body["body"]), "comment")
                self.issues[number - 1].comments.append(body["body"])
                return said(201, {"id": 1, "body": body["body"]})
            case "GET", "issues/N/comments":
                return said(200, [{"body": one} for one in self.issues[number - 1].comments])
            case "PATCH", "issues/N":
                self.check(body == {"state": "closed", "state_reason": "completed"}, "close")
                self.issues[number - 1].closed = True
                return said(200, self.shown(self.issues[number - 1]))
            case _:
                return said(404, {"message": "Not Found"})

    def shown(self, issue: Issue) -> dict[str, Any]:
        state = "closed" if issue.closed else "open"
        return {"number": issue.number, "title": issue.title, "body": issue.text, "state": state}


class JiraServer(TrackerServer):
    """Issues of OPS: of Jira Cloud, or of a Jira Data Center."""

    def __init__(self, *, cloud: bool = True) -> None:
        super().__init__()
        self.cloud = cloud
        self.base = f"/rest/api/{3 if cloud else 2}"
        self.stale: list[Issue] = []
        """Issues that the search shows as open still."""
        self._ids = itertools.count(10_000)

    def kind_of(self, path: str) -> str:
        return re.sub(r"OPS-\d+", "K", path.removeprefix(self.base + "/"))

    def may(self, request: Received) -> bool:
        self.check(request.path.startswith(self.base + "/"), f"version: {request.path}")
        self.check(request.headers.get("accept") == "application/json", "accept")
        login = base64.b64encode(f"tocsin@test.example:{TOKEN}".encode()).decode()
        return request.headers.get("authorization") in ((f"Basic {login}",) if self.cloud else (f"Bearer {TOKEN}",))

    def done(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Reply:  # noqa: ANN401  # JSON
        number = next((int(one) for one in re.findall(r"/OPS-(\d+)", path)), 0)
        if number and not 1 <= number <= len(self.issues):
            return said(404, {"errorMessages": ["Issue does not exist or you do not have permission to see it."]})
        issue = self.issues[number - 1] if number else None
        match method, self.kind_of(path):
            case "POST", "search/jql" | "search" as where:
                self.check((where == "search/jql") is self.cloud, f"{where} is gone, or not yet there")
                return said(200, {"issues": self.found(body), "isLast": True})
            case "POST", "issue":
                return self.created(body["fields"])
            case "POST", "issue/K/comment":
                self.check(set(body) == {"body"}, "comment")
                assert issue is not None
                issue.comments.append(self.text_of(body["body"]))
                return said(201, {"id": str(next(self._ids))})
            case "GET", "issue/K/comment":
                assert issue is not None
                return said(200, {"comments": [{"body": one} for one in issue.comments]})
            case "GET", "issue/K":
                assert issue is not None
                category = {"key": "done" if issue.closed else "new"}
                return said(200, {"fields": {"status": {"name": "x", "statusCategory": category}}})
            case "GET", "issue/K/transitions":
                return said(200, {"transitions": TRANSITIONS})
            case "POST", "issue/K/transitions":
                self.check(set(body) == {"transition"}, "transition")
                chosen = next(one for one in TRANSITIONS if one["id"] == body["transition"]["id"])
                assert issue is not None
                issue.closed = chosen["to"]["statusCategory"]["key"] == "done"
                issue.fields = {**issue.fields, "status": chosen["to"]["name"]}
                return Reply(204, body=b"")
            case _:
                return said(404, {})

    def found(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        self.check(set(body) == {"jql", "fields", "maxResults"}, "search")
        asked = re.fullmatch(
            r'project = "OPS" AND labels = "([\w-]+)"( AND statusCategory != done)? ORDER BY created ASC', body["jql"]
        )
        self.check(asked is not None, f"JQL: {body['jql']}")
        if asked is None or self.blind:
            return []
        return [
            {"key": f"OPS-{one.number}", "fields": {"description": one.fields["description"]}}
            for one in self.issues
            if asked[1] in one.labels and (asked[2] is None or one in self.stale or not one.closed)
        ]

    def created(self, fields: Mapping[str, Any]) -> Reply:
        if fields["issuetype"] == {"name": "Missing"}:
            return said(400, {"errorMessages": [], "errors": {"issuetype": "Specify a valid issue type"}})
        self.check(fields["project"] == {"key": "OPS"}, "project")
        self.check(0 < len(fields["summary"]) <= 255 and "\n" not in fields["summary"], "summary")
        self.check(not any(" " in label or len(label) > 255 for label in fields["labels"]), "labels")
        issue = self.made(fields["summary"], self.text_of(fields["description"]), fields["labels"], fields)
        return said(201, {"id": str(next(self._ids)), "key": f"OPS-{issue.number}", "self": "https://x.example/1"})

    def text_of(self, document: Any) -> str:  # noqa: ANN401  # JSON
        """The text of a description or a comment, once its form is checked: ADF in the cloud, wiki text elsewhere."""
        if not self.cloud:
            self.check(isinstance(document, str) and len(document) <= 32_767, "text")
            return str(document)
        self.check(set(document) == {"type", "version", "content"}, "document")
        self.check((document["type"], document["version"]) == ("doc", 1), "document")
        return "\n".join(self.words_of(node, "doc") for node in document["content"])

    def words_of(self, node: Mapping[str, Any], parent: str) -> str:
        kind = node["type"]
        self.check(kind in CHILDREN[parent], f"a {kind} in a {parent}")
        if kind == "text":
            self.check(set(node) <= {"type", "text", "marks"} and bool(node["text"]), "text")
            for mark in node.get("marks", ()):
                self.check(mark["type"] == "link" and mark["attrs"]["href"].startswith("http"), "mark")
            return str(node["text"])
        self.check(set(node) == {"type", "content"}, kind)
        return " ".join(self.words_of(child, kind) for child in node["content"])


CHILDREN = {
    "doc": {"paragraph", "bulletList"},
    "bulletList": {"listItem"},
    "listItem": {"paragraph"},
    "paragraph": {"text"},
}
TRANSITIONS: list[dict[str, Any]] = [
    {"id": "11", "name": "Start", "to": {"name": "In Progress", "statusCategory": {"key": "indeterminate"}}},
    {"id": "21", "name": "Finish", "to": {"name": "Done", "statusCategory": {"key": "done"}}},
    {"id": "31", "name": "Drop", "to": {"name": "Won't do", "statusCategory": {"key": "done"}}},
]


def said(status: int, body: object) -> Reply:
    return Reply(status, {"content-type": "application/json"}, json.dumps(body).encode())
