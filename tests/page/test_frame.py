"""What every page has in common: headers, assets, errors, escapes."""

import json
import re

from page_server import serving_pages

from tocsin.page import assets


async def test_a_page_runs_nothing_inline_and_asks_nobody_else() -> None:
    async with serving_pages() as (client, _):
        page = await client.get("/trial", params={"detail": "<script>alert(1)</script>"})
        policy = page.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "<script>alert" not in page.text
        assert "&lt;script&gt;" in page.text
        assert not re.findall(r"<script(?![^>]*\ssrc=)", page.text)
        assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|https?://(?!www\.w3\.org)", page.text)
        assert page.headers["cache-control"] == "no-store"


async def test_assets_are_kept_for_as_long_as_they_are_the_same() -> None:
    async with serving_pages(tokens=[{"name": "a", "token": "a-token-of-the-tests", "role": "read"}]) as (client, _):
        kept = await client.get(f"/assets/{assets.version()}/tocsin.css")
        assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert kept.headers["content-type"].startswith("text/css")
        former = await client.get("/assets/0123456789abcdef/tocsin.css")
        assert (former.content, former.headers["cache-control"]) == (kept.content, "no-store")
        for path in ("nothing.css", "../shell.py", "%2e%2e/shell.py", "vendored"):
            assert (await client.get(f"/assets/{assets.version()}/{path}")).status_code in (401, 404), path
        for name in ("htmx", "idiomorph", "uplot"):
            assert (await client.get(f"/assets/{assets.version()}/vendored/{name}.LICENSE.txt")).status_code == 200


async def test_errors_are_pages_and_notices_where_a_part_asked() -> None:
    async with serving_pages() as (client, _):
        for path, status, text in (
            ("/trial/taken", 409, "It is taken."),
            ("/trial/busy", 503, "busy"),
            ("/trial/gone", 404, "There is no such thing"),
            ("/trial/x?count=many", 422, "count"),
        ):
            page = await client.get(path)
            assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
            assert text in page.text
            part = await client.get(path, headers={"hx-request": "true"})
            said = json.loads(part.headers["hx-trigger"])["tocsin:toast"]
            assert (part.status_code, part.headers["hx-reswap"], said["kind"]) == (status, "none", "bad")
            assert text in said["text"]


async def test_a_change_leads_on_or_leaves_the_reader_where_they_are() -> None:
    async with serving_pages() as (client, _):
        part = {"hx-request": "true"}
        led = await client.post("/trial/done", data={"text": "hi"}, headers=part)
        assert (led.status_code, led.headers["hx-redirect"]) == (200, "/trial")
        stayed = await client.post("/trial/stay", headers=part)
        assert stayed.status_code == 204
        said = json.loads(stayed.headers["hx-trigger"])
        assert said["tocsin:toast"]["text"] == "Für anonymous: schön \N{BELL}"
        assert "tocsin:changed" in said
        assert (await client.post("/trial/stay")).headers["location"] == "/trial"


async def test_a_form_has_few_fields() -> None:
    async with serving_pages() as (client, _):
        many = "&".join(f"f{number}=a" for number in range(1001))
        form = {"content-type": "application/x-www-form-urlencoded"}
        assert (await client.post("/trial/done", content=many, headers=form)).status_code == 400
        assert (await client.post("/trial/done", content="text=%ff", headers=form)).status_code == 400
