// SPDX-License-Identifier: Apache-2.0
// What test_clients.py does with @kubernetes/client-node. Usage: node scenarios.mjs KUBECONFIG SCENARIO
// NAMESPACE [ARGUMENT...]; prints JSON, one value a line. Its twin is ../scenarios.py.
import net from 'node:net';
import stream from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const [kubeconfig, scenario, namespace, ...rest] = process.argv.slice(2);
const image = 'coracle.local/hello:1';
const kc = new k8s.KubeConfig();
kc.loadFromFile(kubeconfig);
const core = kc.makeApiClient(k8s.CoreV1Api);
const apps = kc.makeApiClient(k8s.AppsV1Api);

const say = (value) => process.stdout.write(JSON.stringify(value) + '\n');
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const names = (list) => list.items.map((o) => o.metadata.name);

// The Status of a call that has to fail, as [code, reason, message].
async function failure(call) {
    try {
        await call();
    } catch (e) {
        const status = typeof e.body === 'string' ? JSON.parse(e.body) : e.body;
        return [e.code, status.reason, status.message];
    }
    return null;
}

// -- objects of several kinds

function deployment(name) {
    const labels = { app: name };
    return {
        metadata: { name, labels },
        spec: {
            replicas: 0,
            selector: { matchLabels: labels },
            template: { metadata: { labels }, spec: { containers: [{ name: 'main', image }] } },
        },
    };
}

async function crud() {
    for (let n = 0; n < 5; n++)
        await core.createNamespacedConfigMap({
            namespace,
            body: { metadata: { name: `c${n}`, labels: { n: `${n % 2}` } }, data: { k: `${n}` } },
        });
    await core.createNamespacedSecret({ namespace, body: { metadata: { name: 's' }, stringData: { password: 'p' } } });
    await core.createNamespacedService({
        namespace,
        body: { metadata: { name: 'svc' }, spec: { selector: { a: 'b' }, ports: [{ port: 80 }] } },
    });
    await apps.createNamespacedDeployment({ namespace, body: deployment('web') });
    const labelled = names(await core.listNamespacedConfigMap({ namespace, labelSelector: 'n=1' }));
    const one = names(await core.listNamespacedConfigMap({ namespace, fieldSelector: 'metadata.name=c3' }));
    let page = await core.listNamespacedConfigMap({ namespace, limit: 2 });
    const pages = names(page);
    while (page.metadata._continue) {
        page = await core.listNamespacedConfigMap({ namespace, limit: 2, _continue: page.metadata._continue });
        pages.push(...names(page));
    }
    const c = await core.readNamespacedConfigMap({ name: 'c0', namespace });
    const stale = await core.readNamespacedConfigMap({ name: 'c0', namespace });
    c.data = { k: 'new' };
    const replaced = await core.replaceNamespacedConfigMap({ name: 'c0', namespace, body: c });
    await core.deleteNamespacedConfigMap({ name: 'c4', namespace });
    say({
        labelled,
        one,
        pages,
        replaced: replaced.data,
        conflict: await failure(() => core.replaceNamespacedConfigMap({ name: 'c0', namespace, body: stale })),
        secret: (await core.readNamespacedSecret({ name: 's', namespace })).data,
        scale: (await apps.readNamespacedDeploymentScale({ name: 'web', namespace })).spec.replicas ?? 0,
        'cluster ip': Boolean((await core.readNamespacedService({ name: 'svc', namespace })).spec.clusterIP),
        missing: await failure(() => core.readNamespacedConfigMap({ name: 'c4', namespace })),
        exists: await failure(() => core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'c0' } } })),
        invalid: await failure(() =>
            core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'Bad_Name' } } }),
        ),
    });
    await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'n' });
    say(names(await core.listNamespacedConfigMap({ namespace })));
}

async function patches() {
    await apps.createNamespacedDeployment({ namespace, body: deployment('p') });
    const patch = async (kind, body, more = {}) => {
        const d = await apps.patchNamespacedDeployment(
            { name: 'p', namespace, body, ...more },
            k8s.setHeaderOptions('Content-Type', kind),
        );
        return Object.fromEntries(d.spec.template.spec.containers.map((c) => [c.name, c.image]));
    };
    const template = (containers) => ({ spec: { template: { spec: { containers } } } });
    say({
        strategic: await patch(k8s.PatchStrategy.StrategicMergePatch, template([{ name: 'side', image: 'x:1' }])),
        merge: await patch(k8s.PatchStrategy.MergePatch, template([{ name: 'only', image: 'x:2' }])),
        json: await patch(k8s.PatchStrategy.JsonPatch, [
            { op: 'replace', path: '/spec/template/spec/containers/0/image', value: 'x:3' },
        ]),
        test: (
            await failure(() =>
                patch(k8s.PatchStrategy.JsonPatch, [{ op: 'test', path: '/spec/replicas', value: 7 }]),
            )
        ).slice(0, 1),
        apply: await patch(
            k8s.PatchStrategy.ServerSideApply,
            {
                apiVersion: 'apps/v1',
                kind: 'Deployment',
                metadata: { name: 'p' },
                ...template([{ name: 'applied', image: 'x:4' }]),
            },
            { fieldManager: 'node' },
        ),
    });
}

// A kind that the library has no class for.
async function dynamic() {
    const objects = k8s.KubernetesObjectApi.makeApiClient(kc);
    const base = { apiVersion: 'example.com/v1', kind: 'Widget' };
    await objects.create({ ...base, metadata: { name: 'w', namespace }, spec: { size: 3 } });
    const got = await objects.read({ ...base, metadata: { name: 'w', namespace } });
    const list = names(await objects.list(base.apiVersion, base.kind, namespace));
    await objects.delete({ ...base, metadata: { name: 'w', namespace } });
    const bad = await failure(() =>
        objects.create({ ...base, metadata: { name: 'bad', namespace }, spec: { size: 'large' } }),
    );
    say({ size: got.spec.size, names: list, invalid: bad.slice(0, 2) });
}

// -- streams

class Collector extends stream.Writable {
    text = '';
    _write(chunk, encoding, done) {
        this.text += chunk.toString();
        done();
    }
}

async function exec(pod) {
    const [out, err] = [new Collector(), new Collector()];
    const status = await new Promise((done, failed) => {
        new k8s.Exec(kc)
            .exec(
                namespace,
                pod,
                'main',
                ['sh', '-c', 'head -n 1; echo err >&2; exit 3'],
                out,
                err,
                stream.Readable.from(['through stdin\n']),
                false,
                done,
            )
            .catch(failed);
    });
    const code = status.details?.causes?.find((c) => c.reason === 'ExitCode')?.message;
    say({ stdout: out.text, stderr: err.text, status: status.status, code });
    process.exit(0);
}

// The pod's log to its end.
async function follow(pod) {
    const out = new stream.PassThrough();
    await new k8s.Log(kc).log(namespace, pod, 'main', out, { follow: true });
    let text = '';
    for await (const piece of out) text += piece.toString();
    for (const line of text.trimEnd().split('\n')) say(line);
}

async function forward(pod, port) {
    const forwarder = new k8s.PortForward(kc);
    const server = net.createServer((socket) => forwarder.portForward(namespace, pod, [Number(port)], socket, null, socket));
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    const answer = await fetch(`http://127.0.0.1:${server.address().port}/`, { headers: { connection: 'close' } });
    say({ status: answer.status, text: await answer.text() });
    process.exit(0);
}

// Ends with its standard input. Every end of a watch starts it anew, which lists again.
async function informer() {
    const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'informer' });
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const i = k8s.makeInformer(kc, path, list, 'informer');
    for (const [event, kind] of [['add', 'ADDED'], ['update', 'MODIFIED'], ['delete', 'DELETED']])
        i.on(event, (c) => say([kind, c.metadata.name, c.data?.k ?? null]));
    const again = async () => {
        try {
            await i.start();
        } catch {
            setTimeout(again, 100);
        }
    };
    i.on('error', () => setTimeout(again, 100));
    await again();
    process.stdin.on('end', () => process.exit(0)).resume();
}

// -- leader election

const coordination = kc.makeApiClient(k8s.CoordinationV1Api);

// Takes, renews or gives back the Lease; false when it is another's or somebody was quicker.
async function tryLead(me, release = false) {
    const now = new k8s.V1MicroTime();
    const spec = {
        holderIdentity: release ? '' : me,
        leaseDurationSeconds: 2,
        acquireTime: now,
        renewTime: now,
    };
    let lease;
    try {
        lease = await coordination.readNamespacedLease({ name: 'leader', namespace });
    } catch (e) {
        if (e.code !== 404) throw e;
        const body = { metadata: { name: 'leader' }, spec };
        return (await failure(() => coordination.createNamespacedLease({ namespace, body }))) === null;
    }
    const old = lease.spec;
    const others = old.holderIdentity && old.holderIdentity !== me;
    // The library hands the time over as text.
    if (others && now - new Date(old.renewTime) < old.leaseDurationSeconds * 1000) return false;
    spec.leaseTransitions = (old.leaseTransitions ?? 0) + (old.holderIdentity !== me ? 1 : 0);
    lease.spec = spec;
    const replace = () => coordination.replaceNamespacedLease({ name: 'leader', namespace, body: lease });
    return (await failure(replace)) === null;
}

async function leader(me, times) {
    for (let left = Number(times); left > 0; ) {
        if (!(await tryLead(me))) {
            await sleep(20);
            continue;
        }
        const start = Date.now() / 1000;
        await sleep(100);
        const end = Date.now() / 1000;
        if (await tryLead(me, true)) {
            say([me, start, end]);
            left--;
        }
        await sleep(50);
    }
}

await { crud, patches, dynamic, exec, follow, forward, informer, leader }[scenario](...rest);
