"""Changes from inside the service: written in a thread, then taken over as any edit of a file is."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tocsin.api.editing import Applied, Decide, FieldProblem, Fields, RejectedError, Written, WrittenItem
from tocsin.rules.rule import Rule
from tocsin.service.editing.editor import Edited, Editor
from tocsin.service.files import Watcher

__all__ = ["Editing"]

ADOPTION_SECONDS: Final = 10.0
"""For a change to come into force; the answer says so where it takes longer."""


class Editing:
    """`Edits` over the files that a watcher watches. On the service's event loop."""

    def __init__(self, watcher: Watcher, *, editor: Editor | None = None) -> None:
        self._watcher = watcher
        self._editor = editor or Editor(watcher.path, environ=watcher.environ)
        self._changed = asyncio.Condition()
        self._loads = 0
        self._digests: Mapping[Path, object] = {}
        self._problems: Sequence[str] = ()

    @property
    def path(self) -> Path:
        """The configuration file."""
        return self._watcher.path

    async def rules(self) -> Sequence[WrittenItem]:
        """See `Edits.rules`."""
        return await asyncio.to_thread(lambda: self._editor.shelf().rules())

    async def contact_points(self) -> Mapping[str, WrittenItem]:
        """See `Edits.contact_points`."""
        return await asyncio.to_thread(self._points)

    async def change_rule(self, project: str, name: str, decide: Decide, *, file: str | None = None) -> Applied:
        """See `Edits.change_rule`."""
        return await self._adopted(await asyncio.to_thread(self._editor.change_rule, (project, name), decide, file))

    async def change_contact_point(self, name: str, decide: Decide) -> Applied:
        """See `Edits.change_contact_point`."""
        return await self._adopted(await asyncio.to_thread(self._editor.change_contact_point, name, decide))

    async def add_price(self, model: str, prices: Fields) -> Applied:
        """See `Edits.add_price`."""
        return await self._adopted(await asyncio.to_thread(self._editor.add_price, model, prices))

    async def check_rule(self, fields: Fields) -> Sequence[FieldProblem]:
        """See `Edits.check_rule`."""
        return (await asyncio.to_thread(self._editor.tried, fields))[0]

    async def written(self, fields: Fields, *, file: str | None = None) -> Written:
        """See `Edits.written`."""
        return await asyncio.to_thread(self._editor.written, fields, file)

    async def files(self) -> Sequence[str]:
        """See `Edits.files`."""
        return await asyncio.to_thread(lambda: [str(each.path) for each in self._editor.shelf().files])

    async def compiled(self, fields: Fields) -> Rule:
        """See `Edits.compiled`."""
        enabled = {**fields, "enabled": True}
        problems, rule = await asyncio.to_thread(lambda: self._editor.tried(enabled, anybody=True))
        if rule is None:
            raise RejectedError(problems or [FieldProblem("", "other rules or settings in the files are not valid")])
        return rule

    async def settled(self, problems: Sequence[str]) -> None:
        """Tell that the files as they were last read are in force, or what is wrong with them."""
        async with self._changed:
            self._loads += 1
            self._digests = dict(self._watcher.digests)
            self._problems = tuple(problems)
            self._changed.notify_all()

    def _points(self) -> dict[str, WrittenItem]:
        main = self._editor.shelf().main
        points = main.document.root.child("contact_points")
        names = points.entries or {} if points is not None else {}
        return {name: main.item(("contact_points", name)) for name in names}

    async def _adopted(self, edited: Edited) -> Applied:
        if not edited.is_new:
            return Applied(edited.item, None)
        begun = self._loads
        self._watcher.reload()

        def taken() -> bool:
            # One that began before the change and ended after it may have other content; the second did not.
            return self._digests.get(edited.path) == edited.digest or self._loads >= begun + 2

        try:
            async with asyncio.timeout(ADOPTION_SECONDS), self._changed:
                await self._changed.wait_for(taken)
        except TimeoutError:
            return Applied(edited.item, f"it is written, and was not taken over within {ADOPTION_SECONDS:g} s")
        if self._problems:
            return Applied(edited.item, f"it is written, and the files can't be taken over: {self._problems[0]}")
        return Applied(edited.item, None)
