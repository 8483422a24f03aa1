"""Ask a running `beit serve` for the classes of a picture, with nothing but Python's own library.

    beit serve pets=runs/classes/model
    python examples/serve_client.py http://127.0.0.1:8000 picture.jpg

Other tasks are /v1/segment, /v1/embed, /v1/attend, /v1/features and /v1/reconstruct; /openapi.json describes them.
"""

import json
import os
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

address, picture = sys.argv[1:]


def ask(task, picture, **fields):
    """Return the service's answer; when it is busy, try again after the time that it names."""
    boundary = uuid4().hex
    lines = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}' for name in fields]
    lines.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="picture"\r\n\r\n')
    body = "\r\n".join(lines).encode() + Path(picture).read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    if token := os.environ.get("BEIT_SERVE_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    while True:
        try:
            with urlopen(Request(f"{address}/v1/{task}", body, headers), timeout=60) as answer:
                return json.load(answer)
        except HTTPError as error:
            if error.code not in (429, 503):
                sys.exit(f"{error.code}: {error.read().decode()}")
            time.sleep(float(error.headers.get("Retry-After", 1)))


for found in ask("classify", picture, top_k=3)["predictions"]:
    print(f"{found['probability']:6.1%}  {found['label']}")
