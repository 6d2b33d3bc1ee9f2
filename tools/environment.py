"""Makes .venv and installs a lock and then streamdex itself into it. The Makefile runs it; standard library only.

    python3 tools/environment.py run|dev

Everything comes from the lock by hash, and from wheels alone: building a package from source would run build tools
that no lock names. streamdex itself is installed in place, with the locked setuptools.
"""

import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
USABLE = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
PIP = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--progress-bar", "off"]


def ensure_venv() -> None:
    """Reuse .venv, or make it; again when its Python is gone, too old or without pip."""
    if PYTHON.exists() and subprocess.run([PYTHON, "-c", USABLE], check=False, capture_output=True).returncode == 0:
        return
    again = " again: the one there does not work" if VENV.exists() else ""
    say(f"Making .venv with Python {sys.version.split()[0]}{again}")
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)


def install(*arguments: str) -> None:
    """Run pip, with one short line of progress in place of its many, and its last 30 lines when it fails.

    Raises SystemExit.
    """
    last_lines: deque[str] = deque(maxlen=30)
    command = [*PIP, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        if pip.stdout is None:
            raise RuntimeError("a pipe was asked for")
        fetched = 0
        for line in pip.stdout:
            last_lines.append(line)
            if line.startswith("Collecting "):
                fetched += 1
                show_progress(fetched, line.split()[1])
            elif fetched and line.startswith("Installing collected packages"):
                end_progress(f"  installing {fetched} packages")
    if pip.returncode:
        end_progress("".join(last_lines))
        raise SystemExit(f"pip failed on: {' '.join(arguments)}")


def show_progress(count: int, name: str) -> None:
    """On a terminal one line that changes; elsewhere a line every 20 packages."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K  {count}: {name.split(';', maxsplit=1)[0]}")
        sys.stdout.flush()
    elif count % 20 == 0:
        say(f"  {count} packages so far")


def end_progress(text: str) -> None:
    """Replace the changing line, if there is one, by a lasting one."""
    say(("\r\x1b[K" if sys.stdout.isatty() else "") + text)


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(lock: str) -> None:
    """Bring .venv to what requirements/`lock`.lock says, and install streamdex in place."""
    started = time.monotonic()
    ensure_venv()
    say(f"Installing requirements/{lock}.lock into .venv")
    locks = ["--requirement", f"requirements/{lock}.lock", "--requirement", "requirements/build.lock"]
    install("--require-hashes", "--only-binary", ":all:", *locks)
    install("--no-deps", "--no-build-isolation", "--editable", ".")
    say(f"Ready after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1])
