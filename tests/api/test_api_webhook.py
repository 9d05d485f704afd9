"""Who is to be told of a job's end is said at its submit, checked there, and kept without showing the secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_server import pointers, problem, serving

pytestmark = pytest.mark.anyio
HOOK = {"url": "https://example.com/hook", "secret": "correct horse"}


async def test_a_webhook_is_told_back_without_its_secret(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        submitted = await api.submit(webhook=HOOK)
        url = f"/v1/jobs/{submitted.json()['id']}/webhook"
        found = (await api.http.get(url)).json()
        assert found == {
            "url": HOOK["url"], "signed": True, "status": "waiting", "attempts": 0, "answer": None, "error": None,
            "due_at": None, "settled_at": None,
        }  # fmt: skip
        assert "horse" not in submitted.text
        await api.http.post(url.replace("webhook", "cancel"))
        assert (await api.http.get(url)).json()["status"] == "due"
        (due,) = api.store.webhooks.due()
        assert (due.url, due.secret) == (HOOK["url"], HOOK["secret"])
        problem(await api.http.get(f"/v1/jobs/{(await api.submit()).json()['id']}/webhook"), 404)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://[::1]:80/", "http://169.254.169.254/latest", "https://a:b@c/"]
)
async def test_an_address_that_may_not_be_called_makes_no_job(url: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        assert pointers(await api.submit(webhook={"url": url})) == ["/webhook/url"]
        assert (await api.http.get("/v1/jobs")).json()["data"] == []


async def test_a_webhook_is_checked_like_everything_else(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        answer = await api.submit(webhook={"url": "ftp://example.com", "secret": "short", "method": "GET"})
        assert pointers(answer) == ["/webhook/url", "/webhook/secret", "/webhook/method"]


async def test_a_job_that_names_nobody_is_told_to_whom_the_server_names(tmp_path: Path) -> None:
    told = {"webhook_url": "https://example.org/all", "webhook_secret": "of the server"}
    async with serving(tmp_path, **told) as api:
        for submitted, url in (
            (await api.submit(), told["webhook_url"]),
            (await api.submit(webhook=HOOK), HOOK["url"]),
        ):
            found = (await api.http.get(f"/v1/jobs/{submitted.json()['id']}/webhook")).json()
            assert (found["url"], found["signed"]) == (url, True)
    async with serving(tmp_path / "open", webhook_allow_private=True) as api:
        assert (await api.submit(webhook={"url": "http://127.0.0.1:9/"})).status_code == 202
