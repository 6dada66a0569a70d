#!/usr/bin/env python3
"""Records the README's tour: runs the demo and the lines below in a real shell, and draws what
came as an SVG, line after line. `make tour` runs it; what it shows is what happened."""
import html, os, re, signal, subprocess, sys

LINES = [
    ("curl -si $API/users | grep -v date", "no token: 401, and a challenge that says so"),
    ("curl -si -H \"Authorization: Bearer $TOKEN\" $API/users | head -1", "with a token that has the scope read:users"),
    ("curl -s -X POST -H \"Authorization: Bearer $TOKEN\" $API/users", "a scope is missing, and only that"),
    ("sed -i.old 's/write:users/read:users/' $POLICY", "an edit is live at once; a broken one changes nothing"),
    ("curl -si -X POST -H \"Authorization: Bearer $TOKEN\" $API/users | head -1", ""),
    ("bin/demo provider down >/dev/null; curl -si -H \"Authorization: Bearer $TOKEN\" $API/users | head -1", "the identity provider is down: who is known goes on"),
]


def start():
    """Starts the demo, and reads from what it prints where everything is."""
    demo = subprocess.Popen(["bin/demo", "--scopeward", "bin/scopeward"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seen = ""
    for line in demo.stdout:
        seen += line
        if "Ctrl-C ends everything" in line:
            break
    else:
        sys.exit("the demo did not start:\n" + seen)
    api, path = re.search(r"^export API=(\S+) TOKEN=\$\(cat (\S+)\)$", seen, re.M).groups()
    with open(path, encoding="ascii") as f:
        token = f.read().strip()
    policy, = re.search(r"^  (\S+policy\.yaml)$", seen, re.M).groups()
    config, = re.search(r"configuration (\S+scopeward\.yaml)", seen).groups()
    return demo, dict(os.environ, TOKEN=token, API=api, POLICY=policy, CONFIG=config, NO_COLOR="1", NO_PROXY="*")


def run(command, env):
    done = subprocess.run(["sh", "-c", command], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    for secret in (env["TOKEN"], env["POLICY"], env["CONFIG"], os.getcwd()):
        assert secret not in done.stdout, command
    return done.stdout.replace("\r", "").strip().splitlines()


def wait_for_edit(env):
    """A saved edit is live within a moment: the second POST is made when it is."""
    probe = 'for i in $(seq 100); do curl -so /dev/null -w "%{http_code}" -X POST -H "Authorization: Bearer $TOKEN" $API/users | grep -q 200 && exit; sleep 0.1; done; exit 1'
    subprocess.run(["sh", "-c", probe], env=env, check=True)


def draw(rows):
    """An SVG in which each row appears after the one before; without animation, all are there."""
    width, height = 118, 19
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width * 8 + 32} {len(rows) * height + 32}" role="img" aria-label="A tour of Scopeward in a terminal">',
           "<style>text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#d5dbe3;white-space:pre}.c{fill:#8b98a9}.p{fill:#7fd1b9;font-weight:600}"
           "@media(prefers-reduced-motion:no-preference){text{opacity:0;animation:a .1s forwards}}@keyframes a{to{opacity:1}}</style>",
           '<rect width="100%" height="100%" rx="8" fill="#151a21"/>']
    moment = 0.0
    for i, (kind, text) in enumerate(rows):
        moment += {"p": 1.2, "c": 0.4}.get(kind, 0.15)
        text = text if len(text) <= width else text[:width - 1] + "…"
        out.append(f'<text class="{kind}" x="16" y="{i * height + 30}" style="animation-delay:{moment:.2f}s">{html.escape(text)}</text>')
    return "\n".join(out) + "\n</svg>\n"


def main(path):
    demo, env = start()
    try:
        rows = [("c", "# make demo, in another terminal, runs it all: identity provider, service, Scopeward, Envoy"), ("o", "")]
        for command, why in LINES:
            if why:
                rows.append(("c", "# " + why))
            rows.append(("p", "$ " + command))
            rows += [("o", line) for line in run(command, env)] + [("o", "")]
            if "$POLICY" in command:
                wait_for_edit(env)
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(20)
    with open(path, "w", encoding="utf-8") as f:
        f.write(draw(rows[:-1]))


main(sys.argv[1])
