"""The command line, committing after every batch: ``python -m tests.pipelines.eager infer ...``.

So a run of seconds comes to where else only runs of minutes are: some of it is committed, and some is left to do.
"""

from __future__ import annotations

from vidcnn.cli import main
from vidcnn.predictions import buffer

if __name__ == "__main__":
    buffer.COMMIT_ROWS = 1
    main()
