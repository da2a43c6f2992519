"""Reports: their API, and mistakes in what people write."""

from __future__ import annotations

import httpx
import pytest

from tests.web.errors import assert_error

HTML = {"accept": "text/html, */*"}
CHART = "```chart\nfind: status:finished\nseries: val/acc\n```\n"


def make(api: httpx.Client, text: str = CHART, title: str = "Mixup") -> str:
    answer = api.post("/api/reports", json={"title": title, "text": text})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/api/reports/{answer.json()['id']}"
    return str(answer.json()["id"])


def test_a_report_is_written_changed_and_deleted(api: httpx.Client) -> None:
    made = make(api)
    report = api.get(f"/api/reports/{made}").json()
    assert (report["title"], report["text"], report["version"]) == ("Mixup", CHART, 1)
    changed = api.patch(f"/api/reports/{made}", json={"text": "Nothing.\r\n", "version": 1}).json()
    assert (changed["title"], changed["text"], changed["version"]) == ("Mixup", "Nothing.\n", 2)
    assert_error(api.patch(f"/api/reports/{made}", json={"title": "Late", "version": 1}), 409)
    assert [one["title"] for one in api.get("/api/reports").json() if one["id"] == made] == ["Mixup"]
    assert api.delete(f"/api/reports/{made}").status_code == 204
    assert_error(api.get(f"/api/reports/{made}"), 404)
    assert_error(api.delete(f"/api/reports/{made}"), 404)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("words\n\n```chart\nseries: loss\n```", "line 3: needs either runs or find"),
        ("```chart\nfind: x\n```", "line 1: series: "),
        ("```chart\nfind: x\nseries: a\nx: hour\n```", "line 1: x: "),
        ("```chart\nfind: x\nseries a\n```", "line 3: is not a field and its value"),
        ("```runs\nfind: lr<<0.1\n```", "line 1: find: "),
        ("```runs\nfind: x\nsort: nothing/of\tkind\n```", "line 1: sort: "),
        ("```runs\nfind: x\nlimit: 1000\n```", "line 1: limit: "),
        ("```runs\nfind: x\ncolor: red\n```", "line 1: color: "),
        ("```runs\nruns: a\nfind: x\n```", "line 1: needs either runs or find"),
        ("```runs\nfind: x\n```\n" * 101, "more than 50"),
        ("x" * 200_001, "text: "),
    ],
)
def test_mistakes_are_told_with_their_line(api: httpx.Client, text: str, message: str) -> None:
    answer = api.post("/api/reports", json={"title": "Wrong", "text": text})
    assert_error(answer, 422)
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize("title", ["", " ", "a\nb", "x" * 201])
def test_a_report_needs_a_title(api: httpx.Client, title: str) -> None:
    assert_error(api.post("/api/reports", json={"title": title, "text": ""}), 422)


@pytest.mark.parametrize("name", ["0123456789", "%2e%2e%2fviews", "x" * 3000, "0123456789abcdef"])
def test_there_is_no_such_report(api: httpx.Client, name: str) -> None:
    assert_error(api.get(f"/api/reports/{name}"), 404)
    assert api.get(f"/reports/{name}", headers=HTML).status_code == 404


def test_what_is_written_is_text(api: httpx.Client) -> None:
    text = "<script>alert(1)</script> [x](javascript:alert(1)) ![y](data:text/html,z)\n\n```python\n<b>\n```"
    made = make(api, text, "<b>t</b>")
    page = api.get(f"/reports/{made}", headers=HTML).text
    assert "&lt;script&gt;alert(1)" in page
    assert 'href="javascript' not in page
    assert "&lt;b&gt;t&lt;/b&gt;" in page
    assert "<b>t</b>" not in page


def test_a_mistake_does_not_lose_what_was_typed(api: httpx.Client) -> None:
    answer = api.post("/reports", data={"title": "Mine", "text": "kept\n\n```chart\n```"}, headers=HTML)
    assert answer.status_code == 422
    assert "line 3" in answer.text
    assert "kept" in answer.text
    made = make(api)
    for version, status in (("1", 303), ("1", 409), ("x", 422)):
        answer = api.post(f"/reports/{made}", data={"title": "Mine", "text": "kept", "version": version}, headers=HTML)
        assert answer.status_code == status, version
    assert api.get(f"/reports/{made}/edit", headers=HTML).status_code == 200


def test_a_new_report_begins_with_an_example(api: httpx.Client) -> None:
    page = api.get("/reports/new?runs=0123456789,1123456789", headers=HTML).text
    assert "runs: 0123456789, 1123456789" in page
    assert api.post("/reports/preview", data={"text": CHART}, headers=HTML).status_code == 200
    assert_error(api.post("/reports/preview", data={"text": "```chart\n```"}), 422)
