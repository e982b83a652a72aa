"""How a real peer that a test started comes to its end."""

import subprocess


def stop(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Ask it to end, and kill it where it does not in time; whether it ended by itself."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True
