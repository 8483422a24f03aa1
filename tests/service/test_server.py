"""The HTTP service as a process of its own: what only a real connection shows."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from beit import BeitForImageClassification, preset
from beit.image import Preprocessing
from tests.conftest import TINY_MODEL
from tests.service.uploads import picture

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


class Running:
    """A service in another process."""

    def __init__(self, *command, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address = self.process.stdout.readline().split()[-1]
        self.place = (urlsplit(self.address).hostname, urlsplit(self.address).port)

    def until_ready(self):
        deadline = time.monotonic() + 60
        while httpx.get(f"{self.address}/readyz").status_code != 200:
            assert time.monotonic() < deadline, "the service does not become ready"
            time.sleep(0.05)

    def connect(self):
        return socket.create_connection(self.place, timeout=20)

    def metric(self, name):
        lines = httpx.get(f"{self.address}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def classify(self, **options):
        return httpx.post(f"{self.address}/v1/classify", files={"file": picture()}, timeout=30, **options)


@contextlib.contextmanager
def running(*command, **environment):
    service = Running(*command, **environment)
    try:
        service.until_ready()
        yield service
    finally:
        service.process.kill()
        service.process.communicate()


def fake(**options):
    return running("tests.service.fake_predictor", *(f"{name}={value}" for name, value in options.items()))


def many(address, count, **options):
    """Return the answers, or errors, of so many clients at once."""

    async def held():
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=address, timeout=30, limits=limits) as client:
            posts = [client.post("/v1/classify", files={"file": picture(seed)}, **options) for seed in range(count)]
            return await asyncio.gather(*posts, return_exceptions=True)

    return asyncio.run(held())


def head(length=None, **more):
    fields = {"Host": "localhost", "Content-Type": "multipart/form-data; boundary=b", **more}
    fields |= {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": length}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST /v1/classify HTTP/1.1\r\n{lines}\r\n".encode()


def form(upload):
    start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="p"\r\n\r\n'
    return start + upload + b"\r\n--b--\r\n"


def received(connection):
    """Return everything until the other side closes."""
    content = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            content += part
    return content


def test_the_command_serves_a_model_and_ends_with_status_0(tmp_path):
    for name in ("pets", "birds"):
        BeitForImageClassification(preset("tiny", **TINY_MODEL, id2label={0: name, 1: "none"})).save_pretrained(
            tmp_path / name
        )
        Preprocessing((32, 32), (32, 32)).save_pretrained(tmp_path / name)
    models = [str(tmp_path / "pets"), f"flying={tmp_path / 'birds'}"]
    command = ["beit", "serve", *models, "--port", "0", "--device", "cpu"]
    with running(*command, BEIT_SERVE_TOKEN="s3cret") as service:  # noqa: S106
        assert service.classify().status_code == 401
        shown = {"Authorization": "Bearer s3cret"}
        answer = httpx.get(f"{service.address}/v1/models", headers=shown).json()
        assert [each["name"] for each in answer["models"]] == ["pets", "flying"]
        found = service.classify(headers=shown, data={"model": "flying"}).json()
        assert {each["label"] for each in found["predictions"]} == {"birds", "none"}
        service.process.send_signal(signal.SIGTERM)
        _, errors = service.process.communicate(timeout=20)
        assert service.process.returncode == 0
        assert errors == f"loading pets from {models[0]}, flying from {tmp_path / 'birds'}\n"


def test_the_address_is_printed_once_it_answers(tmp_path):
    BeitForImageClassification(preset("tiny", **TINY_MODEL)).save_pretrained(tmp_path)
    Preprocessing((32, 32), (32, 32)).save_pretrained(tmp_path)
    service = Running("beit", "serve", str(tmp_path), "--port", "0", "--device", "cpu")
    try:
        assert httpx.get(f"{service.address}/readyz").status_code == 200
        assert service.classify().status_code == 200
    finally:
        service.process.kill()
        service.process.communicate()


@pytest.mark.parametrize("wrong", ["model", "port", "name"])
def test_what_cannot_be_served_is_an_error_of_one_line(tmp_path, wrong):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = {
            "model": [str(tmp_path / "absent"), "--port", "0"],
            "port": [str(tmp_path), "--port", str(taken.getsockname()[1])],
            "name": ["a=one", "a=two"],
        }[wrong]
        done = subprocess.run(
            [sys.executable, "-m", "beit", "serve", *command], capture_output=True, text=True, cwd=ROOT, timeout=120
        )
    expected = {
        "model": "absent",
        "port": "cannot listen on port",
        "name": "two models are called 'a'",
    }[wrong]
    (error,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert error.startswith("beit: ")
    assert expected in error


def test_while_models_are_loaded_it_lives_and_is_not_ready():
    service = Running("tests.service.fake_predictor", "seconds=0", "load_seconds=1")
    try:
        assert httpx.get(f"{service.address}/healthz").status_code == 200
        assert httpx.get(f"{service.address}/readyz").status_code == 503
        assert service.classify().status_code == 503
        service.until_ready()
        assert service.classify().status_code == 200
    finally:
        service.process.kill()
        service.process.communicate()


def test_32_clients_at_once_are_answered_together():
    with fake(seconds=0.05) as service:
        answers = many(service.address, 32)
        assert [answer.status_code for answer in answers] == [200] * 32
        assert service.metric("beit_batch_size_count") <= 12
        assert service.metric("beit_batch_size_sum") == 32


def test_stopped_under_load_it_loses_no_accepted_request():
    with fake(seconds=0.3, batch_size=2) as service:

        async def held():
            async with httpx.AsyncClient(base_url=service.address, timeout=30) as client:
                posts = [asyncio.create_task(client.post("/v1/classify", files={"file": picture()})) for _ in range(12)]
                while service.metric("beit_queue_depth") < 12:  # all are accepted
                    await asyncio.sleep(0.02)
                service.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.2)
                late = await client.post("/v1/classify", files={"file": picture()})
                ready = await client.get("/readyz")
                return await asyncio.gather(*posts), late, ready

        accepted, late, ready = asyncio.run(held())
        assert [answer.status_code for answer in accepted] == [200] * 12
        assert (late.status_code, ready.status_code) == (503, 503)
        assert "the service is stopping" in late.json()["error"]["message"]
        _, errors = service.process.communicate(timeout=20)
        assert service.process.returncode == 0
        assert errors == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("load_seconds", [0, 5])
def test_a_second_signal_ends_it_at_once_and_quietly(number, load_seconds):
    service = Running("tests.service.fake_predictor", "seconds=5", f"load_seconds={load_seconds}")
    try:
        with service.connect() as connection:
            if load_seconds:
                assert httpx.get(f"{service.address}/healthz").status_code == 200
            else:
                service.until_ready()
                connection.sendall(head(len(form(picture()))) + form(picture()))
                while service.metric("beit_queue_depth") < 1:
                    time.sleep(0.01)
            service.process.send_signal(number)
            time.sleep(0.05)
            service.process.send_signal(number)
            _, errors = service.process.communicate(timeout=2)
    finally:
        service.process.kill()
        service.process.communicate()
    assert (service.process.returncode, errors) == (-number, "")


def test_stopped_under_64_clients_no_connection_ends_empty():
    """Every connection that was open when the service was asked to stop gets the answers to what it still sends."""
    with fake(seconds=0.02, batch_size=8, queue=128) as service:

        async def client(stop):
            reader, writer = await asyncio.open_connection(*service.place)
            ended = "open"
            while ended == "open":
                writer.write(head(len(body)) + body)
                first = await reader.readline()
                if not first and stop.is_set():
                    return "empty"
                rest = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(rest.partition(b"content-length: ")[2].split(b"\r\n")[0]))
                if b"connection: close" in rest:
                    ended = first.split()[1].decode()
            writer.close()
            return ended

        async def all_of_them():
            stop = asyncio.Event()
            clients = [asyncio.create_task(client(stop)) for _ in range(64)]
            await asyncio.sleep(0.5)
            stop.set()
            service.process.send_signal(signal.SIGTERM)
            return await asyncio.gather(*clients)

        body = form(picture())
        ended = asyncio.run(asyncio.wait_for(all_of_them(), 60))
        assert set(ended) <= {"200", "503"}
        _, errors = service.process.communicate(timeout=20)
        assert (service.process.returncode, errors) == (0, "")


def test_clients_that_go_away_free_their_place_and_are_not_computed():
    with fake(seconds=0.4, batch_size=1) as service:
        body = form(picture())
        connections = [service.connect() for _ in range(6)]
        for connection in connections:
            connection.sendall(head(len(body)) + body)
        while service.metric("beit_queue_depth") < 6:
            time.sleep(0.01)
        for connection in connections:
            connection.close()
        assert service.classify().status_code == 200
        assert service.metric("beit_queue_depth") == 0
        assert service.metric("beit_batch_size_count") <= 3  # the one that had begun, and the new one; not six
        assert service.metric('beit_requests_total{route="/v1/classify",status="499"}') == 6


def test_slow_clients_are_sent_away_and_do_not_stop_others():
    with fake(seconds=0.0, body_timeout_s="0.5", queue=4) as service:
        body = form(picture())
        slow = [service.connect() for _ in range(20)]
        for connection in slow:
            connection.sendall(head(len(body)) + body[:100])
        assert service.classify().status_code == 200
        for connection in slow:
            answer = received(connection)
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"did not arrive within 0.5 s" in answer
            connection.close()
        assert service.metric("beit_requests_open") == 0


def test_connections_that_never_say_what_they_want_are_closed():
    whole, half = (
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nX: ",
    )
    with fake(seconds=0.0, body_timeout_s="0.5") as service:
        for sent in (b"", half, whole + half):
            with service.connect() as connection:
                connection.sendall(sent)
                began = time.monotonic()
                assert received(connection)[:12] == (b"HTTP/1.1 200" if sent.startswith(whole) else b"")
                assert time.monotonic() - began < 10
        assert service.classify().status_code == 200


def test_half_closed_connections_leave_nothing_behind():
    with fake(seconds=0.2) as service:
        body = form(picture())
        for sent in (head(len(body)) + body[:200], head(len(body)) + body, head() + b"5\r\n--b", b"POST /v1/cl", b""):
            with service.connect() as connection:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                received(connection)
        assert service.classify().status_code == 200
        assert service.metric("beit_requests_open") == 0
        assert service.metric("beit_queue_depth") == 0


def test_uploads_that_are_too_large_are_cut_off_while_they_arrive():
    with fake(seconds=0.0, max_upload_mb="0.1") as service:
        large = form(bytes(300_000))

        def chunks():
            for start in range(0, len(large), 10_000):
                yield large[start : start + 10_000]

        for content in (large, chunks()):
            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            answer = httpx.post(f"{service.address}/v1/classify", content=content, headers=headers)
            assert answer.status_code == 413
            assert answer.json()["error"]["message"].startswith("the request has more than 100000 bytes")
        with service.connect() as endless:  # never ends, and is answered all the same
            begin = form(b"")[:-9]
            endless.sendall(head() + b"%x\r\n%s\r\n" % (len(begin), begin))
            with contextlib.suppress(ConnectionError):
                for _ in range(2_000):
                    endless.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")
                pytest.fail("20 MB were taken")
        with service.connect() as polite:  # asks before it sends
            polite.sendall(head(10**9, Expect="100-continue"))
            assert received(polite).startswith(b"HTTP/1.1 413")
        assert service.classify().status_code == 200
        assert service.metric("beit_requests_open") == 0


def test_what_is_no_http_does_no_harm():
    with fake(seconds=0.0) as service:
        long = b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n"
        for sent in (b"\x16\x03\x01\x02\x00", b"\r\n\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", head(-5), head("x"), long):
            with service.connect() as connection:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                assert b"200 OK" not in received(connection)
        assert service.classify().status_code == 200


def resident(process):
    """Return the memory of a process in bytes."""
    pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def endless(connection, piece, most):
    """Send until the other side has had enough, and return what it answered."""
    with contextlib.suppress(ConnectionError):
        for _ in range(most // len(piece)):
            connection.sendall(piece)
        pytest.fail(f"{most} bytes were taken")
    return received(connection)


@pytest.mark.parametrize("piece", [b"a" * 10_000, b"X: a\r\n" * 2_000], ids=["one field", "many fields"])
def test_a_head_without_end_is_cut_off(piece):
    with fake(seconds=0.0) as service:
        before = resident(service.process.pid)
        with service.connect() as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
            endless(connection, piece, 40_000_000)
        with service.connect() as connection:  # as much as is read before the answer, so that it is seen
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 66_000)
            answer = received(connection)
        assert answer.startswith(b"HTTP/1.1 431")
        assert b"more than 65536 bytes; send fewer" in answer
        assert resident(service.process.pid) - before < 20e6
        assert httpx.get(f"{service.address}/healthz", headers={"X": "a" * 60_000}).status_code == 200


def test_chunks_and_last_fields_without_end_are_cut_off():
    with fake(seconds=0.0) as service:
        body = form(picture())
        chunk = b"%x" % len(body)
        for begun in (head() + chunk + b";", head() + chunk + b"\r\n" + body + b"\r\n0\r\nX: "):
            with service.connect() as connection:
                connection.sendall(begun)
                endless(connection, b"a" * 10_000, 40_000_000)
        assert service.classify().status_code == 200
        assert service.metric("beit_requests_open") == 0


def test_requests_that_do_not_wait_for_their_answers_are_cut_off():
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with fake(seconds=0.0) as service:
        with service.connect() as connection:
            endless(connection, one * 1_000, 40_000_000)
        with service.connect() as connection:  # some may
            connection.sendall(one * 8)
            content = b""
            while content.count(b"200 OK") < 8:
                content += connection.recv(65536)
        assert service.classify().status_code == 200


def test_head_is_answered_as_get_is_without_a_body():
    with fake(seconds=0.0) as service:
        for path in ("/", "/healthz", "/readyz", "/v1/models", "/openapi.json"):
            asked = httpx.head(f"{service.address}{path}")
            assert (asked.status_code, asked.content) == (200, b"")
            assert asked.headers["content-length"] == httpx.get(f"{service.address}{path}").headers["content-length"]
        assert httpx.head(f"{service.address}/v1/classify").status_code == 405
