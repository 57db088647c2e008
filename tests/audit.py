"""`python -m tests.audit`: asks for known vulnerabilities of all that is installed.

Where the advisories cannot be reached, as behind a mirror of the registry, pip-audit leaves
packages out and calls that success; so this says how many it could ask about.
"""

import json
import subprocess
import sys


def main() -> int:
    """1 where a package has a known vulnerability or pip-audit fails."""
    asked = ["--local", "--skip-editable", "--progress-spinner", "off", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", *asked]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        print("pip-audit: nobody was asked, since the advisories do not answer")
        return 0
    if not done.stdout:
        # A proxy that signs anew, without its certificate at hand, is nobody to ask either.
        words = ("ConnectionError", "ServiceError", "SSLError")
        is_unreachable = any(word in done.stderr for word in words)
        said = done.stderr.strip().splitlines()[-1:] if is_unreachable else [done.stderr]
        print(f"pip-audit: nobody was asked; it ended with {done.returncode}: {''.join(said)}")
        return 0 if is_unreachable else 1
    packages = json.loads(done.stdout)["dependencies"]
    unasked = [p for p in packages if "skip_reason" in p]
    faults = [(p, v) for p in packages for v in p.get("vulns", ())]
    for package, fault in faults:
        fixed = ", ".join(fault["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {fault['id']}, mended in {fixed}")
    print(
        f"pip-audit: {len(faults)} known vulnerabilities in {len(packages) - len(unasked)} packages"
        + (f"; the advisories of {len(unasked)} others cannot be reached" if unasked else "")
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
