# SPDX-License-Identifier: GPL-2.0-or-later
# What is exercised: snapshots asked for by programs and on the command line
# - -loadvm goes on from a snapshot, with -S paused; an unknown tag is one line
#   and exit status 1
# - snapshot-save, -load, -delete as jobs: the same conversation, answers and
#   events, with QEMU, its states and its errors
# - while a snapshot is written other monitors are served, a second savevm and
#   savevm_wait wait their turn; lines sent in one piece are done in order
# - savevm -r writes no faster than told; cancelled it is gone
import os
import re
import shutil
import subprocess
import time

import common                                           # noqa: F401
from qmp import QMP, QMPError
from tap import Skip, main
from test_snapshots import (Disk, leave, listed, run, runs, save, saved,
                            says, status, ticks)
from vmlab import Fail, ORRERY, SLOW, VM, die_with_parent

PEER = 'qemu-system-x86_64'


class Control:
    """A VM whose firmware finds nothing to boot, with a QMP connection."""

    def __init__(self, disk, *more, memory='32'):
        path = os.path.join(disk.dir, 'qmp')
        if os.path.exists(path):
            os.unlink(path)
        self.vm = VM(*disk.args('-boot', 'n', '-qmp',
                                f'unix:{path},server=on,wait=off', *more,
                                memory=memory))
        self.qmp = QMP(path)

    def __enter__(self):
        return self.vm, self.qmp

    def __exit__(self, *exc):
        self.qmp.close()
        self.vm.__exit__(*exc)


def line(qmp, text):
    return qmp('human-monitor-command', {'command-line': text})


def test_loadvm_on_the_command_line():
    with Disk() as disk:
        with VM(*disk.args('-boot', 'n', memory='32')) as vm:
            runs(vm)
            vm.hmp('stop')
            at = ticks(vm)
            save(vm, 'a')
            leave(vm)
        args = disk.args('-boot', 'n', '-loadvm', 'a', memory='32')
        with VM(*args, '-S') as vm:
            status(vm, 'paused')
            if ticks(vm) != at:
                raise Fail(f'{ticks(vm)} ticks, not {at}')
            leave(vm)
        with VM(*args) as vm:
            status(vm, 'running')
            runs(vm)
            if ticks(vm) <= at:
                raise Fail(f'{ticks(vm)} ticks after {at}')
            leave(vm)
        disk.check()


def refused(*args):
    p = subprocess.run([ORRERY, '-accel', 'soft', '-m', '32', '-display',
                        'none', '-monitor', 'none', *args], timeout=60 * SLOW,
                       stdin=subprocess.DEVNULL, capture_output=True,
                       text=True, check=False)
    if p.returncode != 1 or p.stderr.count('\n') != 1 or p.stdout:
        raise Fail(f'{args}: status {p.returncode}\n{p.stdout}{p.stderr}')
    return p.stderr


def test_loadvm_of_what_is_not_there_ends_in_one_line():
    with Disk() as disk:
        drive = f'file={disk.path},format=qcow2'
        out = refused('-drive', drive, '-loadvm', 'nope')
        if not re.fullmatch("orrery: -loadvm nope: .*does not have the "
                            "requested snapshot 'nope'\n", out):
            raise Fail(out)
        out = refused('-loadvm', 'nope')
        if 'No block device can accept snapshots' not in out:
            raise Fail(out)
        disk.check()


# ------------------------------------------------------------------- jobs

class Talk:
    """A conversation: requests, then everything up to a job's end."""

    def __init__(self, qmp, node):
        self.qmp, self.node, self.said = qmp, node, []

    def job(self, name, job, **arguments):
        """Start one, note the states of its life and what query-jobs says."""
        arguments = {'job-id': job, **arguments}
        begin = len(self.qmp.events)
        try:
            self.said.append((name, self.qmp(name, arguments)))
        except QMPError as e:
            self.said.append((name, e.klass, str(e)))
            return
        seen = []
        while not seen or seen[-1] != 'concluded':
            for m in self.qmp.events[begin:]:
                if m['event'] == 'JOB_STATUS_CHANGE':
                    seen.append(m['data']['status'])
                    if m['data']['id'] != job:
                        raise Fail(f'an event of another job: {m}')
                else:
                    seen.append(m['event'])
            del self.qmp.events[begin:]
            if not seen or seen[-1] != 'concluded':
                self.qmp.events.append(self.qmp.read())
        # The peer may stop for what then fails, and stays so.
        states = [x for x in seen if x not in ('STOP', 'RESUME')]
        self.said.append(states)
        if 'aborting' not in states:
            self.said.append([x for x in seen if x not in states])
        for j in self.qmp('query-jobs'):
            self.said.append({k: v for k, v in j.items()
                              if not k.endswith('-progress')})
            if j['current-progress'] > j['total-progress']:
                raise Fail(f'{j}')

    def verb(self, name, job):
        begin = len(self.qmp.events)
        try:
            self.said.append((name, self.qmp(name, {'id': job})))
        except QMPError as e:
            self.said.append((name, e.klass, str(e)))
        self.said.append([m['data']['status']
                          for m in self.qmp.events[begin:]])
        del self.qmp.events[begin:]


def converse(qmp, node):
    t = Talk(qmp, node)
    disk = {'vmstate': node, 'devices': [node]}
    t.job('snapshot-save', 's1', tag='a', **disk)
    t.job('snapshot-save', 's1', tag='b', **disk)       # the id is taken
    t.verb('job-cancel', 's1')
    t.verb('job-dismiss', 's1')
    t.verb('job-dismiss', 's1')
    t.job('snapshot-save', 's2', tag='a', **disk)       # the tag is taken
    t.verb('job-dismiss', 's2')
    t.job('snapshot-load', 'l1', tag='a', **disk)
    t.verb('job-pause', 'l1')
    t.verb('job-dismiss', 'l1')
    t.job('snapshot-load', 'l3', tag='a', vmstate='nope', devices=[node])
    t.verb('job-dismiss', 'l3')
    t.job('snapshot-save', 'l4', tag='c', vmstate=node, devices=[])
    t.verb('job-dismiss', 'l4')
    t.job('snapshot-save', 'l5', tag='c', vmstate=node, devices=['x'])
    t.verb('job-dismiss', 'l5')
    t.job('snapshot-delete', 'd1', tag='zz', devices=[node])
    t.verb('job-dismiss', 'd1')
    t.job('snapshot-delete', 'd2', tag='a', devices=[node])
    t.verb('job-dismiss', 'd2')
    t.job('snapshot-save', '!bad', tag='a', **disk)
    t.job('snapshot-save', 's6', tag='a', devices=[node])
    return t.said


def peer_says(disk):
    if not shutil.which(PEER):
        raise Skip(f'{PEER} is missing')
    path = os.path.join(disk.dir, 'peer')
    image = os.path.join(disk.dir, 'peer.qcow2')
    run('qemu-img', 'create', '-f', 'qcow2', image, '64M')
    p = subprocess.Popen(
        [PEER, '-accel', 'tcg', '-m', '32', '-display', 'none', '-net', 'none',
         '-boot', 'n', '-qmp', f'unix:{path},server=on,wait=off', '-drive',
         f'file={image},format=qcow2,node-name=disk0,if=none,id=d', '-device',
         'ide-hd,drive=d'], stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent)
    try:
        with QMP(path) as qmp:
            return converse(qmp, 'disk0')
    finally:
        p.kill()
        p.wait()


def test_jobs_are_what_the_peer_makes_of_them():
    with Disk() as disk:
        peer = peer_says(disk)
        with Control(disk) as (vm, qmp):
            runs(vm)
            node = qmp('query-block')[0]['inserted']['node-name']
            ours = converse(qmp, node)
            status(vm, 'running')
            runs(vm)
            leave(vm)
        for a, b in zip(ours, peer):
            if a != b:
                raise Fail(f'here {a}\npeer {b}')
        if len(ours) != len(peer):
            raise Fail(f'{len(ours)} answers, the peer has {len(peer)}')
        disk.check()


def test_a_job_finds_a_drive_by_the_name_of_its_node():
    with Disk() as disk:
        path = os.path.join(disk.dir, 'qmp')
        with VM('-m', '32', '-boot', 'n', '-drive',
                f'file={disk.path},format=qcow2,node-name=disk0', '-qmp',
                f'unix:{path},server=on,wait=off') as vm, QMP(path) as qmp:
            runs(vm)
            t = Talk(qmp, 'disk0')
            where = {'vmstate': 'disk0', 'devices': ['disk0']}
            t.job('snapshot-save', 'a', tag='x', **where)
            t.job('snapshot-load', 'b', tag='x', **where)
            if any('error' in x for x in t.said if isinstance(x, dict)):
                raise Fail(f'{t.said}')
            if listed(vm) != ['x']:
                raise Fail(f'{listed(vm)}')
            leave(vm)
        disk.check()


def test_a_job_that_fails_leaves_the_machine_running():
    """The peer leaves it stopped after a load that was not possible."""
    with Disk() as disk, Control(disk) as (vm, qmp):
        runs(vm)
        t = Talk(qmp, 'ide0-hd0')
        t.job('snapshot-load', 'l', tag='zz', vmstate='ide0-hd0',
              devices=['ide0-hd0'])
        if t.said[-1].get('error') != ("Snapshot 'zz' does not exist in one or "
                                       'more devices'):
            raise Fail(f'{t.said}')
        status(vm, 'running')
        runs(vm)


def test_loading_is_no_reset():
    with Disk() as disk, Control(disk) as (vm, qmp):
        runs(vm)
        save(vm, 'a')
        saved(vm)
        qmp.sync()
        qmp.events.clear()
        says(vm, 'loadvm a', "Back at snapshot 'a'")
        qmp.sync()
        names = [m['event'] for m in qmp.events]
        if names != ['STOP', 'RESUME']:
            raise Fail(f'events of loadvm: {names}')
        vm.hmp('stop')
        qmp.sync()
        qmp.events.clear()
        says(vm, 'loadvm a', "Back at snapshot 'a'")
        qmp.sync()
        if qmp.events:
            raise Fail(f'events of loadvm while paused: {qmp.events}')


# ---------------------------------------------------------------- waiting

SLOWLY = '-r 8k'


def test_others_are_served_while_one_waits():
    with Disk() as disk, Control(disk) as (vm, qmp):
        runs(vm)
        save(vm, 'one', SLOWLY)
        vm.monitor.sendall(b'savevm two\n')
        vm.until('the second waits', lambda: "Waiting: snapshot-save 'two'"
                 in line(qmp, 'info snapshots'), 30)
        out = line(qmp, 'info snapshots')
        if not re.match(r"Saving 'one': \d+ of 32 MiB of memory, \d+ MiB "
                        r"written, at most 8 KiB/s\r\n", out):
            raise Fail(out)
        if qmp('query-status')['status'] != 'running':
            raise Fail('the machine does not run')
        if line(qmp, 'savevm_cancel'):
            raise Fail('the first was not cancelled')
        out = vm._until_prompt()
        if "Snapshot 'two' taken" not in out:
            raise Fail(f'the second one: {out!r}')
        saved(vm)
        if listed(vm) != ['two']:
            raise Fail(f'snapshots: {listed(vm)}')
        leave(vm)
        disk.check()


def test_waiting_for_a_snapshot_blocks_nobody():
    with Disk() as disk:
        second = os.path.join(disk.dir, 'second')
        with Control(disk, '-qmp',
                     f'unix:{second},server=on,wait=off') as (vm, qmp):
            nobody_blocked(vm, qmp, second)


def nobody_blocked(vm, qmp, second):
    runs(vm)
    save(vm, 'one', SLOWLY)
    vm.monitor.sendall(b'savevm_wait\n')
    # A request whose answer waits too, and one behind it.
    qmp.send('{"execute": "human-monitor-command", "id": 1, "arguments": '
             '{"command-line": "savevm_wait"}}{"execute": "query-status",'
             '"id": 2}')
    with QMP(second) as other:
        if other('query-status')['status'] != 'running':
            raise Fail('the machine does not run')
        line(other, 'savevm_cancel')
    if 'Error' in vm._until_prompt():
        raise Fail('savevm_wait after a cancel is an error')
    answers = [qmp.answer(), qmp.answer()]
    if [m['id'] for m in answers] != [1, 2] or answers[0]['return'] != '':
        raise Fail(f'{answers}')
    leave(vm)


def test_lines_in_one_piece_are_done_in_order():
    with Disk() as disk, VM(*disk.args('-boot', 'n', memory='32')) as vm:
        runs(vm)
        vm.monitor.sendall(b'savevm a\nsavevm b\nloadvm a\ndelvm b\n'
                           b'info status\n')
        text = ''
        while 'VM status' not in text:
            text += vm._until_prompt()
        order = re.findall(r"Snapshot '\w' \w+|Back at snapshot '\w'|VM status",
                           text)
        if order != ["Snapshot 'a' taken", "Snapshot 'b' taken",
                     "Back at snapshot 'a'", "Snapshot 'b' deleted",
                     'VM status']:
            raise Fail(f'{order}\n{text}')
        if listed(vm) != ['a']:
            raise Fail(f'snapshots: {listed(vm)}')
        leave(vm)


def test_no_faster_than_told():
    with Disk() as disk, VM(*disk.args('-boot', 'n', memory='32')) as vm:
        runs(vm)
        save(vm, 'plain')
        saved(vm)
        size = int(re.search(r'"vm-state-size": (\d+)',
                             run('qemu-img', 'info', '-U', '--output=json',
                                 disk.path))[1])
        rate = size // 3
        begin = time.monotonic()
        save(vm, 'slow', f'-r {rate}b')
        out = vm.hmp('savevm_wait')
        took = time.monotonic() - begin
        if out.strip():
            raise Fail(out)
        # The last piece need not wait.
        if took < 1.5:
            raise Fail(f'{size} octets at {rate} a second took {took:.2f} s')
        for bad in ('0', 'x', '-1'):
            says(vm, f'savevm -r {bad} z', '(Error: )?[^\n]*(rate|-)[^\n]*'
                 '(\nTry [^\n]*)?')
        leave(vm)
        disk.check()


if __name__ == '__main__':
    main(globals())
