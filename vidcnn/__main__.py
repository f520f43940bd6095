"""``vidcnn``, and ``python -m vidcnn``: takes the signals before anything else is loaded."""

import os
import sys


def main() -> None:
    """Run the command line in a process of its own, and exit."""
    try:
        from vidcnn import interrupts

        interrupts.own_process()
    except KeyboardInterrupt:
        os.write(2, b"vidcnn: interrupted\n")
        sys.exit(130)
    from vidcnn.cli import main
    from vidcnn.streams import open_streams

    open_streams()
    main()


if __name__ == "__main__":
    main()
