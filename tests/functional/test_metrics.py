# SPDX-License-Identifier: Apache-2.0
"""metrics.k8s.io (`kubectl top`, `coracle top`) and /metrics in Prometheus' text form."""
import re

from lib import *

BURN = ["sh", "-c", "while true; do true; done"]


def cluster():
    with Cluster() as c:
        c.load_image()
        # Half a CPU at most, so that the figure is known however loaded the machine is.
        c.apply(pod("burn", BURN, labels={"app": "burn"}, resources={"limits": {"cpu": "200m"}}))
        two = pod("quiet", labels={"app": "quiet"})
        two["spec"]["containers"].append({"name": "second", "image": IMAGE, "command": ["sleep", "3600"]})
        c.apply(two)
        c.wait_ready("default", {"app": "burn"}, 1)
        c.wait_ready("default", {"app": "quiet"}, 1)
        yield c


def rows(text):
    """Lines of a kubectl table as lists of cells, without the headings."""
    return [line.split() for line in text.strip().splitlines()[1:]]


def test_top_with_every_kubectl(c):
    """Columns and figures of nodes, pods and containers; selectors; what is not there."""
    for c.kubectl_path in kubectls():
        [node] = rows(c.kubectl("top", "nodes").stdout)
        equal(node[0], c.name, "node")
        true(re.fullmatch(r"\d+m", node[1]) and re.fullmatch(r"\d+%", node[2]), f"CPU of {node}")
        true(int(node[3].removesuffix("Mi")) > 10, f"memory of {node}")
        out = c.kubectl("top", "pods").stdout
        contains(out.splitlines()[0], "CPU(cores)", "headings")
        pods = {r[0]: r for r in rows(out)}
        equal(sorted(pods), ["burn", "quiet"], "pods")
        cpu = int(pods["burn"][1].removesuffix("m"))
        true(20 <= cpu <= 260, f"a loop that may use 200m uses {cpu}m")
        true(int(pods["quiet"][1].removesuffix("m")) < 20, f"an idle pod: {pods['quiet']}")
        containers = rows(c.kubectl("top", "pods", "--containers", "-l", "app=quiet").stdout)
        equal([r[:2] for r in containers], [["quiet", "main"], ["quiet", "second"]], "containers")
        equal(rows(c.kubectl("top", "pod", "burn").stdout)[0][0], "burn", "by name")
        missing = c.kubectl("top", "pod", "nope", check=False)
        equal(missing.returncode, 1, "exit code")
        contains(missing.stderr, 'pods.metrics.k8s.io "nope" not found', "missing pod")


def test_top_of_coracle(c):
    """The client prints the same."""
    [node] = rows(c.coracle("top", "node").stdout)
    equal(node[0], c.name, "node")
    pods = {r[0]: r for r in rows(c.coracle("top", "pods").stdout)}
    true(int(pods["burn"][1].removesuffix("m")) >= 20, f"CPU of {pods}")
    containers = rows(c.coracle("top", "pods", "-A", "--containers").stdout)
    contains([r[:3] for r in containers], ["default", "quiet", "second"], "containers")
    equal(c.coracle("top", "pod", "nope", check=False).returncode, 1, "missing pod")
    equal(c.coracle("top", "service", check=False).returncode, 1, "wrong kind")


def test_objects(c):
    """The objects themselves: discovery, Table, selectors, verbs that there are not."""
    contains(c.kubectl("api-versions").stdout, "metrics.k8s.io/v1beta1", "groups")
    contains(c.kubectl("get", "podmetrics").stdout, "WINDOW", "columns")
    one = json.loads(c.kubectl("get", "podmetrics", "burn", "-o", "json").stdout)
    equal(one["metadata"]["labels"], {"app": "burn"}, "labels")
    true("resourceVersion" not in one["metadata"], "what is not stored has no version")
    [main] = one["containers"]
    true(re.fullmatch(r"\d+n", main["usage"]["cpu"]) and main["usage"]["memory"].endswith("Ki"), str(main))
    names = c.kubectl("get", "podmetrics", "--field-selector", "metadata.name=quiet", "-o", "name").stdout
    equal(names.strip(), "podmetrics.metrics.k8s.io/quiet", "field selector")
    refused = c.kubectl("delete", "podmetrics", "burn", check=False)
    contains(refused.stderr, "the server does not allow this method on the requested resource", "delete")


def test_figures_are_fresh(c):
    """A pod that has started just now has figures; one that is gone has none."""
    c.apply(pod("late", labels={"app": "late"}))
    c.wait_ready("default", {"app": "late"}, 1)
    wait("figures of a new pod", lambda: "late" in c.kubectl("top", "pods").stdout, timeout=10)
    c.coracle("delete", "pod", "late")
    true("late" not in c.kubectl("top", "pods").stdout, "a deleted pod is told no more")
    c.restart()
    pods = {r[0]: r for r in rows(c.kubectl("top", "pods").stdout)}
    true(20 <= int(pods["burn"][1].removesuffix("m")) <= 260, f"after a restart: {pods}")


# -- /metrics

SAMPLE = re.compile(r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)'
                    r'(?:\{(?P<labels>(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})?'
                    r' (?P<value>[-+]?(?:[0-9.]+(?:e[-+]?[0-9]+)?|Inf|NaN))')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


def parse_metrics(text):
    """Strictly by the text format 0.0.4: HELP, TYPE, then the samples of that family, each family and
    each series once. {family: (type, {(name, labels): value})}"""
    true(text.endswith("\n"), "the last line ends")
    families, family = {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ", 3)[2]
            true(family not in families, f"{family} once")
            families[family] = [None, {}]
        elif line.startswith("# TYPE "):
            name, kind = line.split(" ")[2:]
            equal(name, family, "TYPE follows HELP")
            contains(["counter", "gauge", "histogram"], kind, name)
            families[family][0] = kind
        else:
            m = SAMPLE.fullmatch(line)
            true(m, f"malformed: {line!r}")
            ends = ("_bucket", "_sum", "_count") if families[family][0] == "histogram" else ("",)
            contains([family + e for e in ends], m["name"], "sample below its family")
            series = (m["name"], tuple(sorted(LABEL.findall(m["labels"] or ""))))
            true(series not in families[family][1], f"{series} once")
            families[family][1][series] = float(m["value"])
    return families


def check_histograms(families):
    """Buckets grow, and the last one is the count."""
    for name, (kind, samples) in families.items():
        series = {}
        for (sample, labels), value in samples.items():
            if kind == "histogram" and sample.endswith("_bucket"):
                rest = tuple(p for p in labels if p[0] != "le")
                series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
        for labels, buckets in series.items():
            values = [v for _, v in sorted(buckets)]
            equal(values, sorted(values), f"buckets of {name}{labels}")
            equal(values[-1], samples[name + "_count", labels], f"count of {name}{labels}")


def value(families, family, **labels):
    """Sum of the series of a family that have these labels."""
    return sum(v for (name, have), v in families[family][1].items()
               if labels.items() <= dict(have).items())


def test_prometheus_text(c):
    c.kubectl("get", "pods")
    c.kubectl("get", "pod", "nope", check=False)
    watch = c.popen_kubectl("get", "pods", "-w", stdout=subprocess.PIPE)
    try:
        watch.stdout.readline()
        get = lambda: parse_metrics(c.coracle("get", "--raw", "/metrics").stdout)
        wait("the watch", lambda: value(get(), "apiserver_longrunning_requests", resource="pods") >= 1)
    finally:
        watch.kill()
        watch.wait()
    f = get()
    check_histograms(f)
    true(value(f, "process_resident_memory_bytes") > 1 << 20, "memory")
    true(value(f, "process_open_fds") > 5, "descriptors")
    true(abs(value(f, "process_start_time_seconds") - time.time()) < 3600, "start time")
    true(value(f, "apiserver_request_total", verb="LIST", resource="pods", code="200") >= 1, "lists")
    true(value(f, "apiserver_request_total", verb="GET", resource="pods", code="404") >= 1, "not found")
    true(value(f, "apiserver_storage_objects", resource="pods") >= 2, "objects")
    equal(value(f, "container_start_time_seconds", namespace="default", pod="quiet") > 0, True, "containers")
    before = value(f, "container_cpu_usage_seconds_total", pod="burn", container="main")
    wait("CPU time", lambda: value(get(), "container_cpu_usage_seconds_total", pod="burn") > before)
    true(value(f, "container_memory_working_set_bytes", pod="burn") > 4096, "working set")
    for name in ("coracle_proxy_sessions", "coredns_dns_requests_total", "kubelet_running_pods",
                 "coracle_store_revision", "node_memory_working_set_bytes"):
        contains(f, name, "families")
