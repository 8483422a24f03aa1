"""Page that shows the answers of a model about a picture: HTML and JavaScript.

`static` is the page, with the service behind it. `browser` is what an exported folder has beside it: the same answers,
computed in the browser. `runtime` is the onnxruntime that computes there.
"""

from pathlib import Path

FOLDER = Path(__file__).parent / "static"
BROWSER = Path(__file__).parent / "browser"
RUNTIME = Path(__file__).parent / "runtime"
