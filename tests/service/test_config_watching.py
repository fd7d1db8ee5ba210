"""Files that change while the service runs: edited, replaced, swapped, half written, gone and back."""

# ruff: noqa: ASYNC240  # what these tests do to files is instant, and is the point

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Self

import pytest

from tocsin.errors import ConfigError
from tocsin.service.files import Watcher
from tocsin.service.loading import Loaded

RULE = "- {name: %s, metric: cost, condition: gt, threshold: %s}\n"
FAST = {
    "interval": timedelta(milliseconds=20),
    "settle": timedelta(milliseconds=10),
    "patience": timedelta(milliseconds=60),
}


def rules(*names: str, threshold: float = 1) -> str:
    return "rules:\n" + "".join(RULE % (name, threshold) for name in names)


class Follower:
    """A watcher whose changes can be asked for one by one."""

    def __init__(self, path: Path) -> None:
        self.watcher = Watcher(path, environ={}, **FAST)
        self.first = self.watcher.load()
        self._changes = self.watcher.changes()
        self._next: asyncio.Task[Loaded | ConfigError] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)

    async def change(self) -> Loaded | ConfigError:
        task, self._next = self._next or asyncio.ensure_future(anext(self._changes)), None
        return await task

    async def names(self) -> list[str]:
        found = await self.change()
        assert isinstance(found, Loaded), found
        return [rule.name for rule in found.rules]

    async def problem(self) -> str:
        found = await self.change()
        assert isinstance(found, ConfigError)
        return str(found)

    async def stays_quiet(self) -> None:
        """Nothing is told in the time of many looks."""
        self._next = self._next or asyncio.ensure_future(anext(self._changes))
        done, _ = await asyncio.wait([self._next], timeout=0.3)
        assert not done


@pytest.fixture
def main(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(rules("one"))
    return path


async def test_an_edit_in_place_is_seen(main: Path) -> None:
    async with Follower(main) as follower:
        main.write_text(rules("one", "two"))
        assert await follower.names() == ["one", "two"]
        await follower.stays_quiet()


async def test_an_edit_of_the_same_length_in_the_same_instant_is_seen(main: Path) -> None:
    async with Follower(main) as follower:
        before = main.stat()
        main.write_text(rules("two"))
        os.utime(main, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert await follower.names() == ["two"]


async def test_touching_a_file_changes_nothing(main: Path) -> None:
    async with Follower(main) as follower:
        os.utime(main)
        await follower.stays_quiet()


async def test_an_atomic_rename_is_seen(main: Path) -> None:
    async with Follower(main) as follower:
        for name in ("two", "three", "four"):
            new = main.with_name(".config.yaml.tmp")
            new.write_text(rules(name))
            new.replace(main)
            assert await follower.names() == [name]


async def test_a_swap_of_a_symlinked_directory_is_seen(tmp_path: Path) -> None:
    """As the kubelet does it: config.yaml -> ..data/config.yaml, ..data -> ..2026_1, swapped by rename."""

    def release(number: int, *names: str) -> None:
        folder = tmp_path / f"..2026_{number}"
        folder.mkdir()
        (folder / "config.yaml").write_text("rule_files: [team.yaml]\n")
        (folder / "team.yaml").write_text(rules(*names))
        fresh = tmp_path / "..data_tmp"
        fresh.symlink_to(folder.name)
        fresh.replace(tmp_path / "..data")

    release(1, "one")
    for name in ("config.yaml", "team.yaml"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    async with Follower(tmp_path / "config.yaml") as follower:
        for number in (2, 3):
            release(number, f"r{number}")
            for old in (tmp_path / f"..2026_{number - 1}").iterdir():
                old.unlink()
            assert await follower.names() == [f"r{number}"]


async def test_truncated_then_written_is_one_change_and_no_error(main: Path) -> None:
    async with Follower(main) as follower:
        for round_ in range(10):
            with main.open("w") as file:  # truncates
                await asyncio.sleep(0.005)
                file.write(rules(f"r{round_}")[:20])
                file.flush()
                await asyncio.sleep(0.005)
                file.write(rules(f"r{round_}")[20:])
            assert await follower.names() == [f"r{round_}"]


async def test_a_file_written_over_a_while_is_loaded_once_it_is_whole(main: Path) -> None:
    async with Follower(main) as follower:
        asked = asyncio.ensure_future(follower.change())
        text = rules(*(f"r{number}" for number in range(6)), threshold=1234567)
        # Each part holds still for less than a state must; none of them is a valid file.
        with main.open("w") as file:
            for part in text.splitlines(keepends=True):
                file.write(part[:-3])
                file.flush()
                await asyncio.sleep(0.004)
                file.write(part[-3:])
                file.flush()
        found = await asked
        assert isinstance(found, Loaded)
        assert len(found.rules) == 6


async def test_a_deleted_file_is_reported_and_comes_back(main: Path) -> None:
    async with Follower(main) as follower:
        main.unlink()
        assert await follower.problem() == f"{main}:1:1: no such file; create it, or fix the path"
        await follower.stays_quiet()
        main.write_text(rules("two"))
        assert await follower.names() == ["two"]


async def test_a_file_deleted_and_made_again_at_once_is_no_error(main: Path) -> None:
    async with Follower(main) as follower:
        main.unlink()
        await asyncio.sleep(0.02)
        main.write_text(rules("two"))
        assert await follower.names() == ["two"]


async def test_its_directory_may_be_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "config.yaml").write_text(rules("one"))
    async with Follower(folder / "config.yaml") as follower:
        folder.rename(tmp_path / "old")
        assert "no such file" in await follower.problem()
        folder.mkdir()
        (folder / "config.yaml").write_text(rules("two"))
        assert await follower.names() == ["two"]


async def test_an_invalid_edit_is_told_once_and_its_repair_is_loaded(main: Path) -> None:
    async with Follower(main) as follower:
        main.write_text("rules: [\n")
        assert "config.yaml:2:1: " in await follower.problem()
        await follower.stays_quiet()
        main.write_text("rules: [[\n")
        assert "config.yaml:2:1: " in await follower.problem()
        main.write_text(rules("one"))
        assert await follower.names() == ["one"]


async def test_rule_files_appear_change_and_vanish(tmp_path: Path) -> None:
    main = tmp_path / "config.yaml"
    main.write_text("rule_files: [rules/*.yaml]\n")
    async with Follower(main) as follower:
        assert follower.first.rules == ()
        (tmp_path / "rules").mkdir()
        (tmp_path / "rules" / "b.yaml").write_text(rules("b"))
        assert await follower.names() == ["b"]
        (tmp_path / "rules" / "a.yaml").write_text(rules("a"))
        assert await follower.names() == ["a", "b"]
        (tmp_path / "rules" / "b.yaml").write_text(rules("c"))
        assert await follower.names() == ["a", "c"]
        (tmp_path / "rules" / ".a.yaml.swp").write_text("an editor's")
        (tmp_path / "rules" / "a.yaml~").write_text("an editor's")
        await follower.stays_quiet()
        (tmp_path / "rules" / "a.yaml").rename(tmp_path / "rules" / "a.yaml.off")
        assert await follower.names() == ["c"]
        (tmp_path / "rules" / "b.yaml").unlink()
        assert await follower.names() == []


async def test_secrets_are_watched_too(tmp_path: Path) -> None:
    main = tmp_path / "config.yaml"
    main.write_text("trace_url: '${file:url}'\n")
    (tmp_path / "url").write_text("https://a.example/{trace_id}")
    async with Follower(main) as follower:
        (tmp_path / "url").write_text("https://b.example/{trace_id}")
        found = await follower.change()
        assert isinstance(found, Loaded)
        assert found.configuration.trace_url == "https://b.example/{trace_id}"
        (tmp_path / "url").write_text("x" * 100_000)
        assert "is larger than 64 KiB" in await follower.problem()
        await follower.stays_quiet()
        (tmp_path / "url").unlink()
        assert "no such file" in await follower.problem()


async def test_a_missing_secret_of_a_rule_file_is_waited_for(tmp_path: Path) -> None:
    main = tmp_path / "config.yaml"
    main.write_text("rule_files: [team.yaml]\n")
    (tmp_path / "team.yaml").write_text(rules("a").replace("}", ", description: '${file:text}'}"))
    with pytest.raises(ConfigError):
        Watcher(main, environ={}).load()
    (tmp_path / "text").write_text("x")
    async with Follower(main) as follower:
        (tmp_path / "text").unlink()
        assert "no such file" in await follower.problem()
        main.write_text("# another\nrule_files: [team.yaml]\n")
        assert "no such file" in await follower.problem()
        (tmp_path / "text").write_text("y")
        found = await follower.change()
        assert isinstance(found, Loaded)
        assert found.rules[0].description == "y"


async def test_asking_for_a_reload_tells_even_if_nothing_changed(main: Path) -> None:
    async with Follower(main) as follower:
        await follower.stays_quiet()
        follower.watcher.reload()
        assert await follower.names() == ["one"]
        main.unlink()
        follower.watcher.reload()
        assert "no such file" in await follower.problem()


async def test_a_file_that_never_holds_still_is_loaded_all_the_same(main: Path) -> None:
    async def scribble() -> None:
        number = 0
        while True:
            number += 1
            new = main.with_name("new")
            new.write_text(rules(f"r{number}"))
            new.replace(main)
            await asyncio.sleep(0.001)

    async with Follower(main) as follower:
        scribbling = asyncio.create_task(scribble())
        try:
            assert await follower.names() != ["one"]
        finally:
            scribbling.cancel()


async def test_with_its_own_times_an_edit_is_loaded_within_a_second(main: Path) -> None:
    watcher = Watcher(main, environ={})
    watcher.load()
    changes = watcher.changes()
    took = []
    for number in range(3):
        main.write_text(rules(f"r{number}", "x"))
        began = time.monotonic()
        found = await anext(changes)
        took.append(time.monotonic() - began)
        assert isinstance(found, Loaded)
    await changes.aclose()
    assert max(took) < 1


def test_files_that_did_not_change_are_not_parsed_again(tmp_path: Path) -> None:
    main = tmp_path / "config.yaml"
    main.write_text("rule_files: [a.yaml, b.yaml]\n")
    (tmp_path / "a.yaml").write_text(rules("a"))
    (tmp_path / "b.yaml").write_text(rules("b"))
    watcher = Watcher(main, environ={})
    first = watcher.load()
    (tmp_path / "b.yaml").write_text(rules("c"))
    second = watcher.load()
    assert [rule.name for rule in second.rules] == ["a", "c"]
    assert second.rules[0] is first.rules[0]
