"""Service under 32 clients at once: a base BEiT at 224 x 224 pixels with random weights, against the same offline.

    python benchmarks/service.py                  throughput, errors, latency
    python benchmarks/service.py --soak 30        memory over so many minutes instead

Offline, the predictor classifies the same JPEGs from memory in batches of 8; service and predictor take turns, with the
same number of threads, so that both meet the same machine. Recorded in results/bench. Ratios hold, times are those of
one machine.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time

import httpx
import numpy as np
import torch

from beit import BeitForImageClassification, Predictor, preset
from beit.image import Preprocessing
from memory import resident
from pictures import noise_jpegs
from ratios import parser, speed
from records import finish

CLIENTS, BATCH, ROUNDS, QUICK_ROUNDS = 32, 8, 5, 3
LEAST_SHARE = 0.9
MOST_GROWTH, WARM_UP_SHARE = 0.05, 0.2


def main():
    options = parser(__doc__)
    options.add_argument("--soak", type=float, metavar="MINUTES")
    options.add_argument("--rounds", type=int)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = BeitForImageClassification(preset("base", num_labels=1000))
        model.save_pretrained(folder)
        Preprocessing((224, 224), 256).save_pretrained(folder)
        service, address = started(folder)
        try:
            return soak(service, address, given.soak) if given.soak else throughput(folder, address, given)
        finally:
            service.terminate()
            service.communicate()


def started(folder):
    command = [sys.executable, "-m", "beit", "serve", f"base={folder}", "--port", "0", "--batch_size", str(BATCH)]
    command += ["--timeout_s", "120", "--device", "cpu"]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = service.stdout.readline().split()[-1]
    while httpx.get(f"{address}/readyz").status_code != 200:
        assert service.poll() is None, "the service has ended"
        time.sleep(0.1)
    return service, address


def throughput(folder, address, given):
    uploads, predictor = noise_jpegs(2 * CLIENTS), Predictor.from_pretrained(folder, device="cpu")
    prepared = np.stack([predictor.prepare(upload) for upload in uploads[:BATCH]])
    predictor.classify(uploads[:BATCH], batch_size=BATCH)
    asyncio.run(load(address, uploads, CLIENTS))
    served, offline, model, seconds, errors = [], [], [], [], 0
    for _ in range(given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS)):
        offline.append(rate(len(uploads), lambda: predictor.classify(uploads, batch_size=BATCH)))
        began = time.perf_counter()
        latencies, failed = asyncio.run(load(address, uploads, len(uploads)))
        served.append(len(uploads) / (time.perf_counter() - began))
        model.append(rate(BATCH, lambda: predictor.classify_pixels(prepared)))
        seconds += latencies
        errors += failed
    each = ([1 / one for one in rates] for rates in (served, offline))  # seconds per picture
    ratio = speed(f"service, {CLIENTS} clients", "the same model offline", *each, LEAST_SHARE)
    p50, p99 = np.percentile(seconds, (50, 99))
    print(f"pictures per second   service {statistics.median(served):.2f}, offline {statistics.median(offline):.2f}, "
          f"model alone {statistics.median(model):.2f}")  # fmt: skip
    print(ratio)
    print(f"{len(seconds)} answers, {errors} errors; p50 {p50:.2f} s, p99 {p99:.2f} s")
    numbers = {
        "clients": CLIENTS,
        "batch": BATCH,
        "threads": torch.get_num_threads(),
        "share_of_offline": round(ratio.median, 3),
        "pictures_per_second": {"service": rounded(served), "offline": rounded(offline), "model": rounded(model)},
        "errors": errors,
        "seconds": {"p50": round(p50, 3), "p99": round(p99, 3)},
    }
    if errors:
        raise SystemExit(f"{errors} of {len(seconds)} requests failed, so the times compare nothing")
    return finish(given, [ratio], "service", numbers, "torch", "fastapi", "uvicorn")


def soak(service, address, minutes):
    """Sample the memory of the service while the clients never pause."""
    seconds, uploads = 60 * minutes, noise_jpegs(CLIENTS)
    samples, errors, begin = [], 0, time.monotonic()
    while (at := time.monotonic() - begin) < seconds:
        samples.append((at, resident(service.pid)))
        errors += asyncio.run(load(address, uploads, CLIENTS))[1]
    settled = [size for at, size in samples if at >= WARM_UP_SHARE * seconds]
    part = max(1, len(settled) // 5)
    growth = statistics.median(settled[-part:]) / statistics.median(settled[:part]) - 1
    for at, size in samples[:: max(1, len(samples) // 12)]:
        print(f"{at / 60:6.1f} min   {size / 2**20:7.1f} MiB")
    print(f"growth after warm-up   {growth:+.2%} (wanted at most {MOST_GROWTH:.0%}), {errors} errors")
    return 0 if growth <= MOST_GROWTH and not errors else "the service is not as good as wanted"


async def load(address, uploads, count):
    """Return the latencies of so many requests, never more than CLIENTS at once, and how many failed."""
    waiting, latencies, errors = list(range(count)), [], 0

    async def client(http):
        nonlocal errors
        while waiting:
            upload = uploads[waiting.pop() % len(uploads)]
            began = time.perf_counter()
            try:
                answer = await http.post("/v1/classify", files={"file": ("picture.jpg", upload)})
                errors += answer.status_code != 200
            except httpx.HTTPError:
                errors += 1
            latencies.append(time.perf_counter() - began)

    async with httpx.AsyncClient(base_url=address, timeout=120) as http:
        await asyncio.gather(*(client(http) for _ in range(CLIENTS)))
    return latencies, errors


def rate(count, call):
    began = time.perf_counter()
    call()
    return count / (time.perf_counter() - began)


def rounded(rates):
    return [round(one, 2) for one in rates]


if __name__ == "__main__":
    sys.exit(main())
