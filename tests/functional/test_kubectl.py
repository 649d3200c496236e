# SPDX-License-Identifier: Apache-2.0
"""Stock kubectl, verb by verb: the transcripts in kubectl/*.cases, unchanged with every version found.

A transcript is what a terminal would show:

    == name [alone] [basic]     a group: runs in a namespace of its own, beside the other groups
    $ kubectl get pod web       a command line for sh (continued by lines that start with "> ")
    NAME   READY   STATUS       what it must print, standard error included
    web    1/1     Running
    [1]                         its exit code, when it is not 0

In expected lines blanks match any run of blanks, the word _ matches any word, "..." matches any text,
and a line of "..." alone any number of lines. "$~" repeats the command until it answers as expected.
Lines that start with "-- " are comments. "[1.31+]" or "[-1.30]" behind "$" or before an expected line limits it to these versions of kubectl.
$NS is the group's namespace (and the default one), $NODE the node, $PEER a second namespace.
kubectl 1.20 is Debian 12's; contrib/test.sh fetches it. A group that is `alone` runs when no other does; `basic` ones run with kubectl 1.20, too."""
import concurrent.futures
import re
import threading

import yaml

from lib import *

HERE = os.path.dirname(os.path.abspath(__file__))
VERSIONS = ("1.20", "1.27", "1.30", "1.31", "1.33")
GROUPS_AT_ONCE = 4
COMMAND_TIMEOUT = 90
AGAIN_FOR = 30

LONG = True  # begins before the others


# -- transcripts

class Case:
    def __init__(self, where, command, again, versions):
        self.where, self.command, self.again, self.versions = where, command, again, versions
        self.want, self.code = [], 0


class Group:
    def __init__(self, name, flags):
        self.name, self.cases = name, []
        self.alone, self.basic = "alone" in flags, "basic" in flags


LIMIT = re.compile(r"\[(?:(?P<low>\d+\.\d+)\+|-(?P<high>\d+\.\d+))\] ")


def limit_of(text):
    """The limit at the start of the text as (lowest, highest), and the rest."""
    m = LIMIT.match(text)
    if not m:
        return (None, None), text
    return (m["low"] and number(m["low"]), m["high"] and number(m["high"])), text[m.end():]


def number(version):
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def allowed(limit, version):
    low, high = limit
    return (not low or version >= low) and (not high or version <= high)


def parse(path):
    groups = []
    for n, line in enumerate(open(path).read().splitlines(), 1):
        where = f"{os.path.basename(path)}:{n}"
        if line.startswith("== "):
            name, *flags = line[3:].split()
            groups.append(Group(name, flags))
        elif line.startswith(("$ ", "$~ ")):
            again = line.startswith("$~")
            limit, command = limit_of(line[2:].lstrip() if again else line[1:].lstrip())
            groups[-1].cases.append(Case(where, command, again, limit))
        elif line.startswith("> ") or line == ">":
            groups[-1].cases[-1].command += "\n" + line[2:]
        elif re.fullmatch(r"\[\d+\]", line):
            groups[-1].cases[-1].code = int(line[1:-1])
        elif line and not line.startswith("-- "):
            groups[-1].cases[-1].want.append(limit_of(line))
    return groups


def all_groups():
    folder = os.path.join(HERE, "kubectl")
    return [g for f in sorted(os.listdir(folder)) if f.endswith(".cases")
            for g in parse(os.path.join(folder, f))]


def word_pattern(word):
    return r"\S+" if word == "_" else ".*".join(re.escape(p) for p in word.split("..."))


def line_pattern(line, variables):
    for name, value in variables.items():
        line = line.replace("$" + name, value)
    return r"\s*" + r"\s+".join(word_pattern(w) for w in line.split()) + r"\s*"


def matches(want, got, variables):
    """Does the output have the wanted lines, and no others?"""
    if not want:
        return not got
    if want[0] == "...":
        return any(matches(want[1:], got[i:], variables) for i in range(len(got) + 1))
    return bool(got) and re.fullmatch(line_pattern(want[0], variables), got[0]) is not None \
        and matches(want[1:], got[1:], variables)


# -- running them

class Runner:
    """The groups of one version of kubectl, each in a namespace of its own."""

    def __init__(self, c, path, version):
        self.c, self.path, self.version = c, path, version
        self.home = tempfile.mkdtemp(dir=c.disk)
        self.bin = os.path.join(self.home, "bin")
        os.mkdir(self.bin)
        os.symlink(path, os.path.join(self.bin, "kubectl"))
        self.failures, self.count, self.lock = [], 0, threading.Lock()

    def variables(self, group):
        ns = f"k{self.version[1]}-{group.name}"
        return {"NS": ns, "PEER": ns + "-peer", "NODE": self.c.name}

    def environment(self, group, variables):
        home = os.path.join(self.home, group.name)
        os.mkdir(home)
        # Discovery is asked for once and not by every group.
        cache = os.path.join(self.home, "cache")
        os.makedirs(cache, exist_ok=True)
        config = os.path.join(home, "kubeconfig")
        with open(self.c.kubeconfig) as of_root, open(config, "w") as f:
            settings = yaml.safe_load(of_root)
            settings["contexts"][0]["context"]["namespace"] = variables["NS"]
            yaml.safe_dump(settings, f)
        return dict(os.environ, PATH=self.bin + ":" + os.environ["PATH"], HOME=home, KUBECONFIG=config,
                    KUBECACHEDIR=cache, TMPDIR=home, TZ="UTC", **variables)

    def sh(self, command, env, home):
        try:
            p = self.c.inside(["sh", "-c", f"cd {home}; exec 2>&1; {command}"], env=env, check=False,
                              timeout=COMMAND_TIMEOUT)
        except subprocess.TimeoutExpired:
            return -1, [f"no end after {COMMAND_TIMEOUT} s"]
        # kubectl 1.27 colours `cluster-info` even into a pipe.
        text = re.sub("\x1b\\[[0-9;]*m", "", p.stdout)
        # kubectl before 1.33 may read the empty message that opens a stream before it knows the stream.
        text = re.sub(r"(?m)^E\d{4} .*websocket\.go:\d+\] Unknown stream id \d+, discarding message$", "", text)
        return p.returncode, [line for line in text.splitlines() if line.strip()]

    def run_case(self, case, env, variables):
        want = [text for limit, text in case.want if allowed(limit, self.version)]
        end = time.monotonic() + (AGAIN_FOR if case.again else 0)
        while True:
            code, got = self.sh(case.command, env, env["HOME"])
            if code == case.code and matches(want, got, variables):
                return None
            if time.monotonic() > end:
                break
            time.sleep(0.2)
        shown = "\n".join(got)
        return f"{case.where}: {case.command}\n-- wanted ({case.code}):\n" + "\n".join(want) + \
            f"\n-- got ({code}):\n{shown}\n"

    def run_group(self, group):
        variables = self.variables(group)
        env = self.environment(group, variables)
        ns = variables["NS"]
        self.c.coracle("create", "namespace", ns)
        for case in group.cases:
            if not allowed(case.versions, self.version):
                continue
            why = self.run_case(case, env, variables)
            with self.lock:
                self.count += 1
                if why:
                    self.failures.append(why)
            if why:
                break  # the rest of a group stands on what came before
        for name in (ns, variables["PEER"]):
            self.c.coracle("delete", "namespace", name, "--wait=false", "--ignore-not-found")

    def run(self, groups):
        basic = self.version < (1, 27)
        groups = [g for g in groups if g.basic or not basic]
        with concurrent.futures.ThreadPoolExecutor(GROUPS_AT_ONCE) as pool:
            list(pool.map(self.run_group, (g for g in groups if not g.alone)))
        for g in groups:
            if g.alone:
                self.run_group(g)
                self.c.kubectl("uncordon", self.c.name)
        print(f"kubectl {'.'.join(map(str, self.version))}: {self.count} command lines, "
              f"{len(self.failures)} failed")
        if self.failures:
            raise Failure("\n".join(self.failures))


# -- one test a version

def cluster():
    with Cluster() as c:
        c.load_image()
        yield c


def version_of(path):
    info = json.loads(run([path, "version", "--client", "-o", "json"]).stdout)
    return number(info["clientVersion"]["gitVersion"].lstrip("v"))


def test_transcripts():
    """150 command lines at the least, and the parser reads what it shall."""
    groups = all_groups()
    names = [g.name for g in groups]
    equal(sorted(set(names)), sorted(names), "names of groups")
    count = sum("kubectl" in case.command for g in groups for case in g.cases)
    true(count >= 150, f"only {count} command lines")
    for want, got, good in ((["a _ c"], ["a   b  c"], True), (["a"], ["a", "b"], False),
                            (["...", "z"], ["a", "b", "z"], True), (["a...d"], ["abcd"], True),
                            ([], [], True), (["a", "..."], ["b"], False), (["$NS"], ["x"], True)):
        equal(matches(want, got, {"NS": "x"}), good, f"{want} {got}")
    equal(limit_of("[1.31+] x"), (((1, 31), None), "x"), "limit")
    true(not allowed((None, (1, 30)), (1, 31)), "too new")


def make_test(path):
    def test(c):
        Runner(c, path, version_of(path)).run(all_groups())
    return test


for _path in kubectls(VERSIONS):
    globals()["test_with_" + os.path.basename(_path).replace(".", "_")] = make_test(_path)
