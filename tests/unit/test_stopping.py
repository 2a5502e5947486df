"""Signals: the first stops cleanly, the second at once, and what was set before is set again."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from vidfer.cli.stopping import Stopped, draining, stoppable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_raises_and_handlers_come_back(number, code):
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as caught, stoppable():
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before


def test_which_signal_it_was_is_known_also_where_c_code_forgets_it():
    def interrupted():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Stopped:
            raise KeyboardInterrupt from None

    with pytest.raises(Stopped) as caught, stoppable():
        interrupted()
    assert caught.value.exit_code == 143
    with pytest.raises(KeyboardInterrupt) as caught, stoppable():
        raise KeyboardInterrupt
    assert not isinstance(caught.value, Stopped)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_drains_is_told_once_and_goes_on(number):
    before, wanted = signal.getsignal(number), threading.Event()
    with draining(wanted):
        os.kill(os.getpid(), number)
        assert wanted.wait(60)
    assert signal.getsignal(number) is before


def test_the_second_ends_on_the_spot():
    code = """
import os, signal
from vidfer.cli.stopping import Stopped, stoppable
with stoppable():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except Stopped:
        os.kill(os.getpid(), signal.SIGINT)
        print("still here")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_the_command_line_is_imported_gets_one_line():
    code = """
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "vidfer.cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from vidfer.__main__ import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "vidfer: error: interrupted\n")
