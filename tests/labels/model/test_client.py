"""The client against a real server that misbehaves on purpose."""

from __future__ import annotations

import gzip
import json
import socket
import time

import pytest
from tests.labels.server import GOOD, completion, dripping, ok, says, serving

from rankone.core.errors import RankOneError
from rankone.labels.model.budget import Budget, Caps
from rankone.labels.model.client import ChatClient, Question, Unanswered
from rankone.labels.model.dialect import Dialect
from rankone.labels.model.llm import LabelReply
from rankone.labels.model.replies import Replies
from rankone.labels.model.server import Server

KEY = "sk-secret-1234567890"


def client(url, tmp_path, caps=None, **settings):
    quick = {"timeout": 5.0, "retries": 2, "backoff": 0.0, "concurrency": 1, "reply_tokens": 100, **settings}
    server = Server(base_url=url, model="m", **quick)
    return ChatClient(server, KEY, Budget(Caps(**(caps or {}))), Replies(tmp_path / "replies"))


def question(text="what?"):
    return Question("Reply in JSON.", text, LabelReply)


def asked(steps, tmp_path, sleep=0.0, **settings):
    """(outcome of one question, the script) on a server with these steps."""
    with serving(steps, sleep) as (url, script), client(url, tmp_path, **settings) as found:
        return found.ask(question()), script


def test_a_good_reply(tmp_path):
    reply, script = asked([ok()], tmp_path)
    assert reply == LabelReply(**GOOD)
    assert script.paths == ["/v1/chat/completions"]
    assert script.headers[0]["Authorization"] == f"Bearer {KEY}"
    (body,) = script.bodies
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 100, 0)
    schema = body["response_format"]["json_schema"]["schema"]
    assert set(schema["properties"]) == {"label", "reasoning", "confidence"} == set(schema["required"])
    assert schema["additionalProperties"] is False
    assert "maximum" not in json.dumps(schema)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param((200, b"{not json", {}), id="broken body"),
        pytest.param((200, b"[" * 100_000, {}), id="nested body"),
        pytest.param((200, {"choices": []}, {}), id="no choice"),
        pytest.param((200, {"choices": [{"message": {"content": None}}]}, {}), id="no content"),
        pytest.param((200, completion("I am sorry."), {}), id="prose"),
        pytest.param((200, completion('{"label": "cut'), {}), id="cut message"),
        pytest.param(ok({"label": "x"}), id="missing fields"),
        pytest.param(ok({**GOOD, "confidence": 7}), id="out of range"),
        pytest.param((200, completion('{"label": "x", "reasoning": "", "confidence": NaN}'), {}), id="NaN"),
        pytest.param(ok({**GOOD, "more": 1}), id="extra field"),
        pytest.param(says(429, "slow down"), id="429"),
        pytest.param(says(500, "oops"), id="500"),
        pytest.param(says(503, "loading"), id="503"),
    ],
)
def test_what_may_pass_is_asked_again(bad, tmp_path):
    reply, script = asked([bad, ok()], tmp_path)
    assert reply == LabelReply(**GOOD)
    assert len(script.bodies) == 2


def test_after_a_wrong_reply_the_model_is_told_what_was_wrong(tmp_path):
    _, script = asked([ok({"label": "x", "</data>": 1}), ok()], tmp_path)
    again = script.bodies[1]["messages"][1]["content"]
    assert "does not fit the schema" in again
    assert "</data>" not in again


@pytest.mark.parametrize(
    "content",
    ["```json\n%s\n```", "<think>maybe {x}?</think>\n%s", "Here you are: %s. Anything else?"],
)
def test_json_is_found_among_other_words(content, tmp_path):
    reply, script = asked([(200, completion(content % json.dumps(GOOD)), {})], tmp_path)
    assert reply == LabelReply(**GOOD)
    assert len(script.bodies) == 1


def test_attempts_end_and_the_reason_is_given(tmp_path):
    outcome, script = asked([(200, completion("no"), {})], tmp_path)
    assert isinstance(outcome, Unanswered)
    assert not outcome.capped
    assert "no JSON object (after 3 attempts)" in outcome.reason
    assert len(script.bodies) == 3


def test_a_reply_cut_by_its_cap_is_said(tmp_path):
    outcome, _ = asked([(200, completion('{"label": "x', finish="length"), {})], tmp_path)
    assert isinstance(outcome, Unanswered)
    assert "it was cut at 100 tokens" in outcome.reason


def test_a_slow_server_is_a_timeout(tmp_path):
    outcome, script = asked([ok()], tmp_path, sleep=0.4, timeout=0.1, retries=1)
    assert isinstance(outcome, Unanswered)
    assert "no reply within 0.1 s" in outcome.reason
    assert len(script.bodies) == 2


def test_an_endless_reply_is_not_read_to_its_end(tmp_path):
    outcome, _ = asked([(200, b" " * (5 * 2**20), {})], tmp_path, retries=0)
    assert isinstance(outcome, Unanswered)
    assert "larger than" in outcome.reason


def test_retry_after_is_kept_up_to_our_patience(tmp_path, monkeypatch):
    steps, waits = [says(429, "", Retry_After="7"), says(429, "", Retry_After="45"), ok()], []
    with serving(steps) as (url, _), client(url, tmp_path, patience=30.0) as found:
        monkeypatch.setattr(found._stop, "wait", lambda seconds: waits.append(seconds) or False)
        assert found.ask(question()) == LabelReply(**GOOD)
    assert waits == [7.0, 30.0]


def test_a_server_that_asks_for_a_day_is_not_waited_for(tmp_path, monkeypatch):
    with serving([says(429, "limit", Retry_After="86400")]) as (url, script), client(url, tmp_path) as found:
        monkeypatch.setattr(found._stop, "wait", lambda seconds: pytest.fail(f"waited {seconds} s"))
        outcome = found.ask(question())
    assert isinstance(outcome, Unanswered)
    assert "the server asks for 86,400 s of patience" in outcome.reason
    assert len(script.bodies) == 1


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"])
def test_headers_and_bodies_that_drip_are_broken_off(part, tmp_path):
    """Every byte comes in time; the whole does not."""
    with dripping(part) as url, client(url, tmp_path, timeout=0.5, retries=0) as found:
        start = time.monotonic()
        outcome = found.ask(question())
    assert isinstance(outcome, Unanswered)
    assert "no reply within 0.5 s" in outcome.reason
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("when", ["soon", "-5", "1e309", "Wed, 99 Foo 2020", ""])
def test_a_senseless_retry_after_is_ignored(when, tmp_path):
    reply, _ = asked([says(429, "", Retry_After=when), ok()], tmp_path)
    assert reply == LabelReply(**GOOD)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (says(401, f"bad key {KEY}"), "refuses the key"),
        (says(403, "no"), "RANKONE_API_KEY"),
        (says(404, "model not found"), "'m'"),
        (says(402, "pay"), "no credit left"),
        (says(429, "You exceeded your current quota"), "no credit left"),
        ((302, b"", {"Location": "http://127.0.0.1:1/"}), "redirects to another address"),
    ],
)
def test_what_no_retry_mends_ends_the_run(step, words, tmp_path):
    with pytest.raises(RankOneError, match=words) as caught:
        asked([step], tmp_path)
    assert KEY not in str(caught.value)


def test_a_server_that_is_not_there_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    with client(url, tmp_path) as found, pytest.raises(RankOneError, match="no server answers at") as caught:
        found.ask(question())
    assert url in str(caught.value)


def test_the_key_is_in_no_file_and_no_message(tmp_path):
    echo = says(400, f"your request with key {KEY} is bad")
    with serving([ok(), echo]) as (url, _), client(url, tmp_path) as found:
        found.ask(question("a"))
        outcome = found.ask(question("b"))
    assert isinstance(outcome, Unanswered)
    assert KEY not in outcome.reason
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert files
    assert not [p for p in files if KEY in p.read_text("utf8")]


@pytest.mark.parametrize(
    "echo", [f"no {KEY[:12]} {KEY[12:]}", f"no {KEY[:9]}… nor {KEY[9:]}", f"no {'-'.join(KEY)}", KEY[4:12]]
)
def test_the_key_in_pieces_is_in_no_message(echo, tmp_path):
    outcome, _ = asked([says(400, echo)], tmp_path)
    assert isinstance(outcome, Unanswered)
    assert outcome.reason == "status 400: (a message that quotes the key)"


def test_a_reply_that_quotes_the_key_is_not_kept(tmp_path):
    outcome, _ = asked([ok({**GOOD, "label": f"key {KEY}"})], tmp_path)
    assert isinstance(outcome, Unanswered)
    assert KEY not in outcome.reason
    assert not [p for p in (tmp_path / "replies").rglob("*") if p.is_file()]


def test_nothing_of_the_environment_goes_out(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-place")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-another-place")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-another-place")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    with serving([ok()]) as (url, script):
        server = Server(base_url=url, model="m")
        with ChatClient(server, None, Budget(Caps()), Replies(tmp_path / "replies")) as found:
            assert found.ask(question()) == LabelReply(**GOOD)
    (sent,) = script.headers
    assert "another-place" not in str(sent)
    assert {name.lower() for name in sent} <= {
        "host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent"
    }  # fmt: skip


def test_a_compressed_reply_is_not_opened(tmp_path):
    bomb = gzip.compress(b" " * 50_000_000)
    outcome, _ = asked([(200, bomb, {"Content-Encoding": "gzip"})], tmp_path, retries=0)
    assert isinstance(outcome, Unanswered)
    assert "compressed" in outcome.reason


def test_an_endless_error_is_not_read_to_its_end(tmp_path):
    outcome, _ = asked([(500, b" " * (5 * 2**20), {})], tmp_path, retries=0)
    assert isinstance(outcome, Unanswered)
    assert "larger than" in outcome.reason


def test_what_is_not_logged(tmp_path, caplog):
    """Neither the key nor what a server says, at any level."""
    with caplog.at_level("DEBUG"):
        asked([says(400, f"\x1b[2J {KEY}" + "x" * 5000)], tmp_path)
    assert KEY not in caplog.text
    assert "\x1b" not in caplog.text
    assert "x" * 300 not in caplog.text


def test_a_server_is_there_or_not(tmp_path):
    with serving([ok()]) as (url, _), client(url, tmp_path) as found:
        found.require_server()  # 501 for what it does not know: it is there
    with client(url, tmp_path) as found, pytest.raises(RankOneError, match="no server answers at"):
        found.require_server()


def test_messages_of_the_server_are_inert(tmp_path):
    outcome, _ = asked([says(400, "\x1b[2J\u202eowned")], tmp_path)
    assert isinstance(outcome, Unanswered)
    assert r"\x1b[2J\u{202e}owned" in outcome.reason


def picky(body):
    """Understands neither JSON schemas nor max_tokens nor a temperature, one complaint at a time."""
    if body.get("response_format", {}).get("type") == "json_schema":
        return says(400, "'response_format.type' must be 'json_object' or 'text'")
    if "max_tokens" in body:
        return says(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    if "temperature" in body:
        return says(400, "Unsupported value: 'temperature' does not support 0")
    return ok()


def test_a_picky_server_is_asked_as_it_likes(tmp_path):
    with serving(picky) as (url, script), client(url, tmp_path) as found:
        assert found.ask(question("a")) == LabelReply(**GOOD)
        assert len(script.bodies) == 4
        assert found.ask(question("b")) == LabelReply(**GOOD)
        assert len(script.bodies) == 5  # it remembers
        assert script.bodies[-1]["response_format"] == {"type": "json_object"}
        assert script.bodies[-1]["max_completion_tokens"] == 100


def test_an_unrelated_400_changes_no_dialect():
    assert Dialect().after("this model's maximum context length is 4096 tokens") is None
    assert Dialect(response_format="none").after("unknown response_format") is None


def test_replies_are_stored_and_not_asked_again(tmp_path):
    with serving([ok()]) as (url, script), client(url, tmp_path) as found:
        first = found.ask(question())
        assert found.ask(question()) == first
        assert found.estimate(question(), 50).requests == 0
        assert found.estimate(question("other"), 50).requests == 1
        assert len(script.bodies) == 1
        (stored,) = (p for p in tmp_path.rglob("*.json"))
        stored.write_text("{damaged")
        assert found.ask(question()) == first
        assert len(script.bodies) == 2


def test_many_at_once_but_no_more_than_allowed(tmp_path):
    with serving([ok()], sleep=0.05) as (url, script), client(url, tmp_path, concurrency=4) as found:
        got = dict(found.ask_all((i, question(str(i))) for i in range(12)))
    assert set(got) == set(range(12))
    assert all(reply == LabelReply(**GOOD) for reply in got.values())
    assert 2 <= script.most_at_once <= 4


def test_questions_are_read_as_they_are_needed(tmp_path):
    read = []

    def questions():
        for i in range(100):
            read.append(i)
            yield i, question(str(i))

    with serving([ok()]) as (url, _), client(url, tmp_path, concurrency=2) as found:
        answers = found.ask_all(questions())
        next(answers)
        assert len(read) <= 4
        answers.close()


def test_a_server_that_fails_too_often_ends_the_run_and_loses_nothing(tmp_path):
    def steps(body):
        return ok() if int(body["messages"][1]["content"].split()[0]) < 4 else says(400, "no")

    with serving(steps) as (url, script):
        with (
            client(url, tmp_path) as found,
            pytest.raises(RankOneError, match="failed; the last: status 400: no"),
        ):
            list(found.ask_all((i, question(f"{i} ")) for i in range(100)))
        asked_before = len(script.bodies)
        assert asked_before < 30
        with client(url, tmp_path) as found:
            assert len(list(found.ask_all((i, question(f"{i} ")) for i in range(4)))) == 4
        assert len(script.bodies) == asked_before


def test_few_failures_are_put_up_with(tmp_path):
    def steps(body):
        return says(400, "no") if body["messages"][1]["content"] == "3" else ok()

    with serving(steps) as (url, _), client(url, tmp_path) as found:
        got = dict(found.ask_all((i, question(str(i))) for i in range(10)))
    assert [i for i, outcome in got.items() if isinstance(outcome, Unanswered)] == [3]


@pytest.mark.parametrize(
    "caps", [{"max_tokens": 2000}, {"max_cost": 0.002, "price_in": 1.0, "price_out": 1.0}]
)
def test_the_cap_holds(caps, tmp_path):
    steps = [ok(tokens_in=150, tokens_out=100)]
    with (
        serving(steps, sleep=0.01) as (url, script),
        client(url, tmp_path, caps=caps, concurrency=4) as found,
    ):
        got = dict(found.ask_all((i, question(str(i))) for i in range(30)))
        assert sum(found.budget.used) == 250 * len(script.bodies) <= 2000
    assert len(script.bodies) >= 3
    capped = [o for o in got.values() if isinstance(o, Unanswered)]
    assert len(capped) == 30 - len(script.bodies)
    assert all(outcome.capped for outcome in capped)


def test_a_server_that_does_not_count_is_counted_at_the_worst(tmp_path):
    with serving([ok(usage=False)]) as (url, _), client(url, tmp_path) as found:
        found.ask(question())
        assert found.budget.used[1] == 100
        assert found.budget.used[0] > len(question().text)


@pytest.mark.parametrize(
    "lie", [{"prompt_tokens": -5, "completion_tokens": -5}, {"prompt_tokens": "0"}, [], None]
)
def test_a_lie_about_the_count_is_not_believed(lie, tmp_path):
    body = completion(json.dumps(GOOD)) | {"usage": lie}
    with serving([(200, body, {})]) as (url, _), client(url, tmp_path) as found:
        found.ask(question())
        assert sum(found.budget.used) > 100
