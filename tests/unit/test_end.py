"""How the process of a verb ends."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit


def test_a_verb_that_is_done_ends_with_its_own_code_though_a_thread_of_arrow_still_holds_a_file_of_python() -> None:
    """The file is dropped slowly, in Arrow's thread: an interpreter that ends meanwhile aborts (github.com/apache/arrow/issues/34314)."""
    script = ("import io, time, threading\n"
              "import pyarrow as pa, pyarrow.parquet as pq\n"
              "import job.__main__ as verbs\n"
              "held = threading.Event()\n"
              "class Slow(io.BytesIO):\n"
              "    def __del__(self):\n"
              "        if threading.current_thread() is not threading.main_thread():\n"
              "            held.set()\n"
              "            time.sleep(2)\n"
              "sink = pa.BufferOutputStream()\n"
              "pq.write_table(pa.table({'id': [str(i) for i in range(3000)]}), sink, row_group_size=500)\n"
              "data = sink.getvalue().to_pybytes()\n"
              "def main():\n"
              "    while not held.wait(.1):\n"   # now and then the main thread drops it last
              "        pq.read_table(Slow(data))\n"
              "    print('done')\n"
              "    return 0\n"
              "verbs.main = main\n"
              "verbs.entry()\n")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
