//go:build web

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/tokentest"
)

// evil is markup that would tell of itself.
const evil = `<img src=x onerror="window.evil=1"><script>window.evil=1</script>`

const webPolicy = `version: 1
rules:
  - match: [/healthz, "GET /public/{path...}"]
    public: true
  - match: GET /users
    scopes: [read:users]
  - match: GET /users/{id}
    any_scopes: [read:users, admin]
    when: path.id == identity.subject || "admin" in identity.scopes
  - match: [POST /users, "DELETE /users/{id}"]
    scopes: [write:users]
  - match: GET /reports/
    mode: audit
    scopes: [read:reports]
`

const evilRule = `  - name: '` + evil + `'
    match: GET /tenants/{tenant}
    when: request.headers["x-tenant"] == path.tenant && identity.subject != ""
`

// browser is a tab of Chromium's that shows the page.
type browser struct {
	context.Context
	t       *testing.T
	s       *scopeward
	envoy   string
	idp     *tokentest.Provider
	policy  string
	trouble chan string // what the browser complains of
}

func chromium(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium: install it (Debian and Ubuntu: apt-get install chromium), or set $CHROMIUM to the path of one")
	return ""
}

func openPage(t *testing.T, policy string) *browser {
	t.Helper()
	program := chromium(t)
	b := &browser{t: t, idp: tokentest.New(t), trouble: make(chan string, 100)}
	dir := t.TempDir()
	config := corpus.Configure(t, dir, "jwks", b.idp, nil, map[string]string{"policy.yaml": policy})
	b.policy = filepath.Join(dir, "policies", "policy.yaml")
	b.s = serve(t, "--config", config)
	b.envoy = startEnvoy(t, newUpstream(t).Listener.Addr().String(), []target{{name: "web", authz: b.s.grpc}})["web"]

	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()))
	if os.Getuid() == 0 { // Chromium's sandbox refuses root
		options = append(options, chromedp.NoSandbox)
	}
	ctx, end := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(end)
	ctx, end = chromedp.NewContext(ctx)
	t.Cleanup(end)
	ctx, end = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(end)
	b.Context = ctx
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *log.EventEntryAdded: // also what the page's policy forbids
			b.trouble <- e.Entry.Text + " " + e.Entry.URL
		case *runtime.EventExceptionThrown:
			b.trouble <- fmt.Sprint(e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	command(b, log.Enable, cdp.Empty{})
	b.run(chromedp.EmulateViewport(1280, 900), chromedp.Navigate("http://"+b.s.admin+"/"))
	b.eventually(`document.querySelector("#stream-state").textContent === "Live" && document.querySelector("#ready").textContent === "Ready"`)
	t.Cleanup(func() {
		select {
		case what := <-b.trouble:
			t.Errorf("the browser complains: %s", what)
		default:
		}
	})
	return b
}

func (b *browser) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// command has the browser do what chromedp has no action for.
func command[P, R any](b *browser, c cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b, c, params); err != nil {
		b.t.Fatal(err)
	}
}

// eval gives the value of an expression, or of the promise that it is.
func (b *browser) eval(expression string) any {
	b.t.Helper()
	value, err := chromedp.Run(b, chromedp.Evaluate[any](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

// eventually waits until an expression is true.
func (b *browser) eventually(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); b.eval(expression) != true; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("never true: %s\nthe page says:\n%v", expression, b.eval(`document.body.innerText`))
		}
	}
}

// ask sends a request through Envoy.
func (b *browser) ask(method, path, token string, headers ...string) int {
	b.t.Helper()
	wire := method + " " + path + " HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n"
	if token != "" {
		wire += "Authorization: Bearer " + token + "\r\n"
	}
	for i := 0; i < len(headers); i += 2 {
		wire += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	res, _ := exchange(b.t, b.envoy, []byte(wire+"\r\n"))
	return res.StatusCode
}

// set gives a field of a form a value, as a person does.
func (b *browser) set(id, value string) {
	b.t.Helper()
	b.eval(fmt.Sprintf(`(() => { const e = document.getElementById(%q); e.value = %q; e.dispatchEvent(new Event("input", {bubbles: true})); e.dispatchEvent(new Event("change", {bubbles: true})); })()`, id, value))
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.run(chromedp.Click(selector))
}

const rows = `[...document.querySelectorAll("#stream-rows tr:not(.detail)")]`

func (b *browser) rowsWith(text string, n int) {
	b.t.Helper()
	b.eventually(fmt.Sprintf(`%s.filter(r => r.textContent.includes(%q)).length === %d`, rows, text, n))
}

// screenshot writes what the tab shows, and gives its path.
func (b *browser) screenshot(name string, whole bool) {
	b.t.Helper()
	shot := chromedp.CaptureScreenshot()
	if whole {
		shot = chromedp.FullScreenshot(100)
	}
	png, err := chromedp.Run(b, shot)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll("../bin/web", 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile("../bin/web/"+name+".png", png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// accessible has axe look for what keeps people out.
func (b *browser) accessible(look string) {
	b.t.Helper()
	if b.eval(`axe.run().then(r => r.passes.length > 20)`) != true {
		b.t.Errorf("%s: axe has looked at nothing", look)
	}
	findings := b.eval(`axe.run().then(r => JSON.stringify(r.violations.map(v => ({impact: v.impact, id: v.id, help: v.help, nodes: v.nodes.map(n => n.html + " " + n.failureSummary).slice(0, 3)}))))`).(string)
	var violations []struct {
		Impact, ID, Help string
		Nodes            []string
	}
	if err := json.Unmarshal([]byte(findings), &violations); err != nil {
		b.t.Fatal(err)
	}
	for _, v := range violations {
		b.t.Errorf("%s: axe: %s: %s (%s)\n%s", look, v.Impact, v.Help, v.ID, strings.Join(v.Nodes, "\n"))
	}
}

// keyboard goes through the page by the tab key, and uses it by the space bar and enter.
func (b *browser) keyboard() {
	b.t.Helper()
	b.eval(`document.activeElement.blur()`)
	reached := map[string]bool{}
	for range 90 {
		b.run(chromedp.KeyEvent(kb.Tab))
		id, _ := b.eval(`(() => { const e = document.activeElement; const s = getComputedStyle(e); return (e.id || e.className || e.getAttribute("href") || e.dataset.order || e.tagName) + (s.outlineStyle === "none" ? " without an outline" : "") })()`).(string)
		reached[id] = true
		if id == "pause" {
			b.run(chromedp.KeyEvent(" "))
			b.eventually(`document.querySelector("#pause").getAttribute("aria-pressed") === "true"`)
			b.run(chromedp.KeyEvent(" "))
		}
		if id == "denied" {
			b.run(chromedp.KeyEvent(kb.Enter))
			b.eventually(`document.querySelector("[data-order=denied]").closest("th").getAttribute("aria-sort") === "descending"`)
		}
	}
	for _, id := range []string{"skip", "#rules", "filter-code", "filter-rule", "filter-text", "pause", "clear", "q-method", "q-url", "q-scopes", "q-claims", "main", "place", "hits", "denied", "/metrics"} {
		if !reached[id] {
			b.t.Errorf("the tab key does not reach %s: %v", id, reached)
		}
	}
}
