"""Parts of the Engine: the callbacks' thread, and what killed programs leave on disk."""

import fcntl
import os
import subprocess
import sys
import threading

import pytest

from mpengine.embedded import callback_thread, files
from mpengine.embedded.callback_thread import CallbackThread
from tests.rig.waiting import scaled


@pytest.fixture
def callbacks():
    thread = CallbackThread()
    yield thread
    thread.close()
    assert thread.wait(scaled(30))


def test_all_is_done_in_order_by_one_thread(callbacks):
    done = []
    for number in range(100):
        callbacks.put(lambda number=number: done.append((number, threading.get_ident())))
    assert callbacks.wait(scaled(30))
    assert [number for number, _ in done] == list(range(100))
    assert len({thread for _, thread in done}) == 1
    assert done[0][1] != threading.get_ident()


def test_an_exception_is_logged_and_ends_nothing(callbacks, caplog):
    done = []
    for deed in (lambda: 1 / 0, sys.exit, lambda: done.append(1)):
        callbacks.put(deed)
    assert callbacks.wait(scaled(30))
    assert done == [1]
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError, SystemExit]


def test_the_queue_is_bounded_and_leaves_interims_out_first(callbacks, caplog, monkeypatch):
    monkeypatch.setattr(callback_thread, "MOST_WAITING", 20)
    monkeypatch.setattr(callback_thread, "MOST_WAITING_INTERIMS", 10)
    begun, free, done = threading.Event(), threading.Event(), []
    callbacks.put(lambda: (begun.set(), free.wait(scaled(30))))
    assert begun.wait(scaled(30))
    for number in range(1000):
        callbacks.put(lambda number=number: done.append(number), is_interim=True)
    assert not callbacks.wait(0)
    for number in range(1000, 1025):
        callbacks.put(lambda number=number: done.append(number))
    free.set()
    assert callbacks.wait(scaled(30))
    assert done == list(range(1005, 1025))
    assert "15 calls were dropped" in caplog.text


def test_it_can_be_waited_for_from_itself_and_works_on_after_a_close(callbacks):
    answers = []
    callbacks.put(lambda: answers.append(callbacks.wait(60)))
    assert callbacks.wait(scaled(30))
    assert answers == [False]
    callbacks.close()
    callbacks.put(lambda: answers.append("again"))
    assert callbacks.wait(scaled(30))
    assert answers[1:] == ["again"]


def test_a_done_call_is_not_kept(callbacks):
    gone = threading.Event()

    class Held:
        def __del__(self):
            gone.set()

    def deed(held=Held()):  # noqa: B008
        del held

    callbacks.put(deed)
    del deed
    assert gone.wait(scaled(30))


def test_where_there_is_no_room_for_a_thread_the_calls_wait_for_it(callbacks, monkeypatch, caplog):
    really, done = threading.Thread.start, []

    def no_room(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_room)
    callbacks.put(lambda: done.append(1))
    assert not callbacks.wait(0)
    assert "cannot start the thread for the callbacks of the engine: can't start new thread" in caplog.text
    monkeypatch.setattr(threading.Thread, "start", really)
    callbacks.put(lambda: done.append(2))
    assert callbacks.wait(scaled(30))
    assert done == [1, 2]


def test_calls_that_wait_for_a_thread_get_one_from_who_waits_for_them(callbacks, monkeypatch):
    done = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda _thread: (_ for _ in ()).throw(RuntimeError("no room")))
        callbacks.put(lambda: done.append(1))
    assert callbacks.wait(scaled(30))
    assert done == [1]


def test_it_is_closed_without_waiting_for_anybody(callbacks):
    """By `__del__`, in a thread of which nobody knows what it holds."""
    callbacks.put(lambda: None)
    assert callbacks.wait(scaled(30))
    thread, holds, let_go = callbacks._thread, threading.Event(), threading.Event()

    def hold():
        with callbacks._changed:
            holds.set()
            let_go.wait(scaled(30))

    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(scaled(30))
    closer = threading.Thread(target=callbacks.close)
    closer.start()
    closer.join(scaled(30))
    is_closed = not closer.is_alive()
    let_go.set()
    for each in (holder, closer, thread):
        each.join(scaled(30))
        assert not each.is_alive()
    assert is_closed


def test_what_killed_programs_left_is_removed_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    base, windows = tmp_path / "mpengine", tmp_path / "windows"
    windows.mkdir()
    names = {"left": f"gui-{dead.pid}-ab", "held": f"gui-{dead.pid}-cd", "ours": files.new_name(), "other": "default"}
    for name in names.values():
        (base / name).mkdir(parents=True)
        (base / name / "lock").write_text("")
        (windows / f"{name}.window").write_text("audio")
    with (base / names["held"] / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files.remove_left(str(windows))
    assert sorted(os.listdir(base)) == sorted(names[key] for key in ("held", "ours", "other"))
    assert len(os.listdir(windows)) == 3
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    files.remove_left(None)
