#!/usr/bin/env python3
"""Checks the charts: lint, golden renders, strict schemas, refusals, what they hold, and their READMEs.

    tests/install/charts.py             needs KOH_CHART_TOOLS="$(tests/install/build.sh)"; without, what needs no helm
    KOH_BLESS=1 tests/install/charts.py writes the golden renders anew

A golden render is what `helm template` makes of a file of values/, with random tokens masked and copies of other files elided, and
beside it the notes that `helm install` prints.
"""

import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HUB = ROOT / "charts/kalypso-observability-hub"
CRDS = ROOT / "charts/kalypso-observability-hub-crds"

# What the charts hold of the rest of the repository: links, so that there is nothing that could differ.
LINKS = {
    HUB / "files/rbac.yaml": "schema/rbac.yaml",
    HUB / "files/rbac-reviews.yaml": "schema/rbac-reviews.yaml",
    HUB / "files/dashboards": "grafana-plugin-config/dashboards",
    HUB / "files/datasource.yaml": "grafana-plugin-config/provisioning/datasources/kalypso.yaml",
    HUB / "files/grafana-rules.yaml": "grafana-plugin-config/provisioning/alerting/kalypso-rules.yaml",
    HUB / "files/prometheus-rules.yaml": "grafana-plugin-config/prometheus/rules.yaml",
    HUB / "files/alerts.yaml": "grafana-plugin-config/alerts.yaml",
    CRDS / "files/crds": "schema/crds",
}

# (what is set, what the refusal says)
REFUSED = [
    (["--set", "replicas=2"], "/replicas': value must be 1"),
    (["--set", "replicas=2", "--skip-schema-validation"], "one process owns the volume"),
    (["--set", "replicaCount=1"], "additional properties 'replicaCount' not allowed"),
    (["--set", "hub.lateAfter=soon"], "/hub/lateAfter'"),
    (["--set", "hub.limits.maxWaiter=5"], "additional properties 'maxWaiter' not allowed"),
    (["--set", "hub.policies.policy=x"], "additional properties 'policy' not allowed"),
    (["--set", "hub.port=0"], "/hub/port'"),
    (["--set", "hub.classes[0].name=edge,hub.classes[0].lateAfter=1h"], "additional properties 'lateAfter' not allowed"),
    (["--set", "hub.classes[0].name=edge"], "/hub/classes/0': minProperties"),
    (["--set", "hub.options.late-after=1h"], "started with --late-after=15m, and an argument wins"),
    (["--set", "hub.options.lease_name=x"], "started with --lease-name=koh, and an argument wins"),
    (["--set", "hub.options.kubernetes=false"], "started with --kubernetes, and an argument wins"),
    (["--set", "hub.options.log=debug,hub.log.filter=info"], "say the same"),
    (["--set", "hub.options.drain={1s,2s}"], "/hub/options/drain'"),
    (["--set", "backups.every=daily"], "/backups/every'"),
    (["--set", "backups.keep=0"], "/backups/keep'"),
    (["--set", "backups.enabled=true,persistence.existingClaim=one,backups.volume.existingClaim=one"], "holds the data"),
    (["--set", "backups.url=s3://bucket/koh"], "nothing is put there without backups.enabled"),
    (["--set", "backups.enabled=true,backups.url=s3://bucket/koh,backups.volume.existingClaim=one"],
     "backups.volume.existingClaim is of a volume, and backups go to backups.url (s3://bucket/koh)"),
    (["--set", "backups.enabled=true,backups.url=s3://bucket/koh,backups.volume.storageClass=shared"], "backups.volume.storageClass is of"),
    (["--set", "backups.enabled=true,backups.url=s3://bucket/koh,hub.options.backup-dir=/x"],
     "started with --backup-dir=s3://bucket/koh, and an argument wins"),
    (["--set", "backups.enabled=true,backups.url=https://bucket.example/koh"], "/backups/url'"),
    (["--set", "backups.enabled=true,backups.url=s3://key:secret@bucket/koh"], "/backups/url'"),
    (["--set", "backups.enabled=true,backups.url=az://container/koh?sig=x"], "/backups/url'"),
    (["--set", "backups.enabled=true,backups.url=abfss://account.dfs.core.windows.net/koh"], "/backups/url'"),
    (["--set", "metrics.prometheusRule.enabled=true,metrics.prometheusRule.disabled={KohHostSilent}"],
     'there is no alert "KohHostSilent". There are: KohRolloutFailed, '),
    (["--set", "metrics.prometheusRule.enabled=true,metrics.prometheusRule.thresholds.KohHubUnwell=1"], 'no alert "KohHubUnwell"'),
    (["--set", "metrics.prometheusRule.enabled=true,metrics.prometheusRule.thresholds.KohHubDown=1"], "has no threshold"),
    (["--set", "metrics.prometheusRule.thresholds.KohHostsSilent=many"], "/metrics/prometheusRule/thresholds/KohHostsSilent'"),
    (["--set", "auth.generate[0].name=reader,auth.generate[0].scopes={write}"], "value must be one of 'read', 'report', 'admin'"),
    (["--set", "auth.generate[0].name=all,auth.generate[0].scopes={admin}", "--set", "auth.tokens[0].name=all",
      "--set", "auth.tokens[0].scopes={read}", "--set-string", "auth.tokens[0].sha256=" + "0" * 64], 'the token "all" is there twice'),
    (["--set-json", "auth.generate=[]"], "nobody would get in"),
    (["--set", "auth.enabled=false,auth.tokenReview.enabled=true"], "auth.tokenReview.enabled needs auth.enabled"),
    (["--set", "auth.tokenReview.accounts[0].name=system:serviceaccount:ci:x,auth.tokenReview.accounts[0].sees=everything"], "without auth.tokenReview.enabled"),
    (["--set", "auth.tokenReview.enabled=true,auth.existingSecret=x",
      "--set", "auth.tokenReview.accounts[0].name=system:serviceaccounts,auth.tokenReview.accounts[0].sees=everything"],
     "into the file of that Secret"),
    (["--set", "auth.tokenReview.enabled=true,auth.tokenReview.accounts[0].name=ci:pipeline"], "/auth/tokenReview/accounts/0/name'"),
    (["--set", "auth.tokenReview.enabled=true,auth.tokenReview.accounts[0].name=system:serviceaccounts"],
     "missing property 'sees'"),
    (["--set-json", 'auth.generate=[{"name": "a", "scopes": ["read"], "sees": {"workspaces": []}}]'], "workspaces': minItems"),
    (["--set", "persistence.accessModes={ReadWriteMany}"], "/persistence/accessModes/0'"),
    (["--set", "ingress.enabled=true"], "/ingress/hosts': minItems"),
    (["--set", "httpRoute.enabled=true"], "/httpRoute/parentRefs': minItems"),
    (["--set", "metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.token=nobody"], 'makes none called "nobody"'),
    (["--set", "metrics.serviceMonitor.enabled=true,auth.existingSecret=mine"], "Prometheus needs a token"),
    (["--set", "grafana.datasource.enabled=true,grafana.datasource.token=nobody"], 'makes no token called "nobody"'),
]

failures = []


def fail(text):
    failures.append(text)
    print(f"FAILED: {text}")


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)
    # Helm says of every link that it follows it.
    done.stderr = re.sub(r"^level=INFO .*found symbolic link.*\n", "", done.stderr, flags=re.M)
    return done


# --- what needs no helm ----------------------------------------------------------------------------------------


def check_links():
    for link, target in LINKS.items():
        if not link.is_symlink() or link.resolve() != (ROOT / target).resolve() or not link.exists():
            fail(f"{link.relative_to(ROOT)} is not a link to {target} (git config core.symlinks true, and check it out again)")


def check_versions():
    cargo = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.M)[1]
    for chart in (HUB, CRDS):
        text = (chart / "Chart.yaml").read_text(encoding="utf-8")
        found = re.findall(r'^(?:appVersion|version): "?([^"\n]+)"?$', text, re.M)
        if found != [cargo, cargo]:
            fail(f"{chart.name}/Chart.yaml has the versions {found}; Cargo.toml has {cargo}")


def check_readmes():
    done = run(sys.executable, HERE / "values_table.py", "--check")
    if done.returncode:
        fail((done.stdout + done.stderr).strip())


# --- what helm makes -------------------------------------------------------------------------------------------


def rendered(chart, *arguments):
    """What helm template prints, or raises with what it says."""
    done = run(TOOLS / "helm", "template", "koh", chart, "--namespace", "koh", *arguments)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def masked(text):
    """The same text each time: random tokens and their hashes get numbers, and copies of files are elided."""
    for number, token in enumerate(dict.fromkeys(re.findall(r"koh_[0-9a-f]{64}", text)), 1):
        text = text.replace(token, f"koh_(random {number})")
        text = text.replace(hashlib.sha256(token.encode()).hexdigest(), f"(sha-256 of random {number})")
    for link, target in LINKS.items():
        if link.name.startswith("rbac"):
            continue  # small, and what somebody who reads a golden render looks for
        files = sorted(link.iterdir()) if link.is_dir() else [link]
        for file in files:
            content = file.read_text(encoding="utf-8").rstrip("\n")
            for depth in (2, 4):
                copy = "\n".join(" " * depth + line if line else "" for line in content.split("\n"))
                spaced = "\n".join(" " * depth + line for line in content.split("\n"))
                name = f"{target}/{file.name}" if link.is_dir() else target
                for form in (copy, spaced):
                    text = text.replace(form, " " * depth + f"(what {name} holds)")
    return re.sub(r"[ \t]+$", "", text, flags=re.M)


def notes(*arguments):
    """What helm tells whoever installs it."""
    done = run(TOOLS / "helm", "install", "koh", HUB, "--namespace", "koh", "--dry-run=client", *arguments)
    return re.sub(r"[ \t]+$", "", done.stdout.split("\nNOTES:\n")[1], flags=re.M)


def check_golden(name, text):
    file = HERE / f"golden/{name}"
    if os.environ.get("KOH_BLESS"):
        file.write_text(text, encoding="utf-8")
    known = file.read_text(encoding="utf-8") if file.exists() else ""
    if text != known:
        diff = run("diff", "-u", "--label", f"golden/{name}", "--label", "rendered", file if file.exists() else "/dev/null", "-",
                   input=text).stdout
        fail(f"golden/{name} is not what is rendered now; if it should: KOH_BLESS=1 tests/install/charts.py\n{diff[:6000]}")


def check_schemas(name, text):
    """Every object against the strict schema of its kind."""
    place = str(TOOLS / "schemas") + "/{{ .Group }}_{{ .ResourceAPIVersion }}_{{ .ResourceKind }}.json"
    done = run(TOOLS / "kubeconform", "-strict", "-summary", "-schema-location", place, "-", input=text)
    summary = done.stdout.strip().split("\n")[-1]
    if done.returncode or "Skipped: 0" not in summary or "0 resource" in summary:
        fail(f"{name}: {done.stdout}{done.stderr}")
    return summary


def check_lint(chart, name, *arguments):
    done = run(TOOLS / "helm", "lint", "--strict", "--quiet", chart, *arguments)
    if done.returncode:
        fail(f"helm lint --strict, {name}: {done.stdout}{done.stderr}")


def check_values():
    for file in sorted((HERE / "values").glob("*.yaml")):
        check_lint(HUB, file.name, "--values", file)
        try:
            text = rendered(HUB, "--values", file)
        except RuntimeError as error:
            fail(f"values/{file.name}: {error}")
            continue
        print(f"{file.stem:<11} {check_schemas(file.name, text)}")
        check_golden(file.name, masked(text))
        check_golden(f"{file.stem}.txt", notes("--values", file))
    unused = {f.stem for f in (HERE / "golden").iterdir()} - {f.stem for f in (HERE / "values").iterdir()}
    if unused:
        fail(f"golden renders without values: {sorted(unused)}")


def check_crds():
    check_lint(CRDS, "the chart of custom resources")
    text = rendered(CRDS, "--set", "commonLabels.team=platform", "--set", "annotations.note=x")
    print(f"{'crds':<11} {check_schemas('crds', text)}")
    definitions = len(list((ROOT / "schema/crds").glob("*.yaml")))
    for word in ("kind: CustomResourceDefinition", "helm.sh/resource-policy: keep", "team: platform", "note: x"):
        if text.count(word) != definitions:
            fail(f"crds: '{word}' is there {text.count(word)} times, and there are {definitions} definitions")


def check_refusals():
    for arguments, said in REFUSED:
        try:
            rendered(HUB, *arguments)
            fail(f"{arguments} is taken; it should be refused with '{said}'")
        except RuntimeError as error:
            if said not in str(error):
                fail(f"{arguments} is refused, but not with '{said}': {error}")


def check_alerts():
    """Rules that the chart makes for a threshold of the values are those that the hub makes for the same one."""
    alerts = (ROOT / "grafana-plugin-config/alerts.yaml").read_text(encoding="utf-8").split("\n  - name: ")[1:]
    known = [(re.match(r"\w+", a)[0], re.search(r"^    threshold: (\S+)$", a, re.M)[1]) for a in alerts if "\n    prometheus:" in a]
    flags = re.search(r'flags := list ([^}]+?) -', (HUB / "templates/_alerts.tpl").read_text(encoding="utf-8"))[1]
    of = "metrics.prometheusRule."
    # Without it, rules are taken as they are.
    left_out = ["--set", f"{of}enabled=true,{of}disabled={{KohHubDown}}"]
    same = ["--set-json", of + "thresholds={" + ", ".join(f'"{n}": {t}' for n, t in known if f'"{n}"' not in flags) + "}"]
    if rendered_alerts(*left_out) != rendered_alerts(*left_out, *same):
        fail("the chart's rules with the thresholds that alerts have anyway are not those of prometheus/rules.yaml: see _alerts.tpl")
    for every, wanted in (("24h", 172800), ("6h", 108000), ("1d 12h 5m 1s", 259802), ("7d", 1209600)):
        if f"koh_backup_timestamp_seconds > {wanted}" not in " ".join(
            rendered_alerts("--set", f"{of}enabled=true,backups.enabled=true,backups.every={every}").split()
        ):
            fail(f"with backups.every={every} KohBackupOld does not wait for {wanted} seconds")


def rendered_alerts(*arguments):
    return rendered(HUB, "--show-only", "templates/monitoring.yaml", *arguments)


def check_random():
    """Tokens differ from one render to the next, or they would not be random."""
    tokens = [re.findall(r"koh_[0-9a-f]{64}", rendered(HUB)) for _ in range(2)]
    if len(set(tokens[0] + tokens[1])) != 6:
        fail(f"two renders make six tokens, and not {len(set(tokens[0] + tokens[1]))}")


def check_packages():
    """What is released holds the files themselves, not links that lead out of it, and names the released image."""
    with tempfile.TemporaryDirectory() as folder:
        image = "registry.example.com/owner/hub"
        done = run(ROOT / ".ci/package-charts", image, folder, env={**os.environ, "HELM": str(TOOLS / "helm")})
        if done.returncode:
            return fail(f".ci/package-charts: {done.stdout}{done.stderr}")
        for chart in (HUB, CRDS):
            package = next(pathlib.Path(folder).glob(f"{chart.name}-[0-9]*.tgz"))
            with tarfile.open(package) as archive:
                for link in (link for link in LINKS if link.is_relative_to(chart)):
                    for file in sorted(link.iterdir()) if link.is_dir() else [link]:
                        member = archive.extractfile(f"{chart.name}/{file.relative_to(chart)}")
                        if member is None or member.read() != file.read_bytes():
                            fail(f"the package of {chart.name} does not hold {file.relative_to(chart)} as it is")
            if chart == HUB and f'image: "{image}:' not in rendered(package):
                fail(f"the package of {chart.name} does not name the released image")
    return None


check_links()
check_versions()
check_readmes()
TOOLS = pathlib.Path(os.environ.get("KOH_CHART_TOOLS", "/nowhere"))
helm_is_here = (TOOLS / "helm").is_file()
if helm_is_here:
    check_values()
    check_crds()
    check_refusals()
    check_alerts()
    check_random()
    check_packages()
else:
    print('SKIPPED lint, renders and schemas: KOH_CHART_TOOLS is not set. Where Go is installed:\n'
          '        export KOH_CHART_TOOLS="$(tests/install/build.sh)"')
if failures:
    sys.exit(f"{len(failures)} checks of the charts failed")
print("the charts hold" if helm_is_here else "the charts hold, as far as can be told without helm")
