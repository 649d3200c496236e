# SPDX-License-Identifier: Apache-2.0
"""Operations of Python's Kubernetes client (which speaks WebSockets only), for test_streams.py.
Prints what came of one as JSON."""
import contextlib
import json
import sys

from kubernetes import client, config
from kubernetes.stream import portforward, stream


def ended(s):
    while s.is_open():
        s.update(timeout=1)


def run_exec(api, pod, *command):
    s = stream(api.connect_get_namespaced_pod_exec, pod, "default", command=list(command), stdin=False,
               stdout=True, stderr=True, tty=False, _preload_content=False)
    ended(s)
    return {"stdout": s.read_stdout(), "stderr": s.read_stderr(), "code": s.returncode}


def run_exec_stdin(api, pod, text):
    s = stream(api.connect_get_namespaced_pod_exec, pod, "default", command=["head", "-n", str(text.count("\n"))],
               stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False)
    s.write_stdin(text)
    ended(s)
    return {"stdout": s.read_stdout()}


def run_port_forward(api, pod, port, request):
    forward = portforward(api.connect_get_namespaced_pod_portforward, pod, "default", ports=port)
    s = forward.socket(int(port))
    s.settimeout(10)
    answer = b""
    with contextlib.suppress(BrokenPipeError):
        s.sendall(request.encode())
        while piece := s.recv(65536):
            answer += piece
    return {"answer": answer.decode(errors="replace"), "error": forward.error(int(port))}


def main():
    config.load_kube_config(sys.argv[1])
    operation = {"exec": run_exec, "exec-stdin": run_exec_stdin, "port-forward": run_port_forward}[sys.argv[2]]
    print(json.dumps(operation(client.CoreV1Api(), *sys.argv[3:])))


if __name__ == "__main__":
    main()
