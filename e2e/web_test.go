//go:build web

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"scopeward/internal/pypi"
)

func TestWebStream(t *testing.T) {
	b := openPage(t, webPolicy)
	good := b.idp.Mint(map[string]any{"sub": "alice", "scope": "read:users"}, nil)
	b.ask("GET", "/users", good)
	b.ask("GET", "/users", "")
	b.ask("POST", "/users", good)
	b.rowsWith("/users", 3)
	b.rowsWith("alice", 2)
	b.rowsWith("insufficient_scope", 1)

	b.set("filter-code", "denied")
	b.rowsWith("alice", 1)
	b.eventually(rows + `.length === 2`)
	b.set("filter-code", "")
	b.set("filter-text", "MISSING_token")
	b.eventually(rows + `.length === 1`)
	b.set("filter-text", "")
	b.eventually(rows + `.length === 3`)
	b.eval(`document.querySelector("#filter-rule").value = [...document.querySelectorAll("#filter-rule option")].find(o => o.textContent.startsWith("POST /users")).value; document.querySelector("#filter-rule").dispatchEvent(new Event("change"))`)
	b.eventually(rows + `.length === 1`)
	b.set("filter-rule", "")
	b.eventually(rows + `.length === 3`)

	b.click("#pause")
	b.eventually(`document.querySelector("#stream-state").textContent === "Paused" && document.querySelector("#pause").getAttribute("aria-pressed") === "true"`)
	b.ask("GET", "/public/while-paused", "")
	if b.eval(rows+`.length`) != float64(3) {
		t.Error("a page that is paused goes on")
	}
	b.click("#pause")
	b.rowsWith("/public/while-paused", 1)
	b.eventually(rows + `.length === 4`)
	b.click("#clear")
	b.eventually(rows + `.length === 0`)

	// The rules count, the state is fresh, and a broken edit shows with its place.
	b.eventually(`[...document.querySelectorAll("#rules-rows tr")].find(r => r.textContent.includes("POST /users")).innerText.match(/\b1\b.*\b1\b/s) !== null`)
	b.eventually(`[...document.querySelectorAll("#glance .card")].find(c => c.textContent.startsWith("Decisions")).querySelector(".big").textContent === "4"`)
	if err := os.WriteFile(b.policy, []byte("version: 1\nrules:\n  - match: GET users\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.eventually(`document.querySelector("#notices").textContent.includes("policy.yaml:3:12: pattern")`)
	b.eventually(`document.querySelector("#ready").textContent === "Ready, with problems" && document.querySelector("#ready").classList.contains("warn")`)
	b.screenshot("broken", false)
	for range 300 { // beyond what a page shows
		b.ask("GET", "/public/many", "")
	}
	b.rowsWith("/public/many", 200)
}

// TestWebRow: a row shows more on a click, and is explained from there.
func TestWebRow(t *testing.T) {
	b := openPage(t, webPolicy)
	b.ask("GET", "/users/43", b.idp.Mint(map[string]any{"sub": "alice", "scope": "read:users"}, nil))
	b.rowsWith("/users/43", 1)
	detail := `document.querySelector("#stream-rows .detail")`
	b.click("#stream-rows .decision button")
	b.eventually(detail + `.textContent.includes("api.example.com") && ` + detail + `.textContent.includes("read:users")`)
	b.eventually(`document.querySelector("#stream-rows .decision button").getAttribute("aria-expanded") === "true"`)
	b.click("#stream-rows .detail button")
	b.eventually(`document.querySelector("#answer").textContent.includes("path.id == identity.subject") && document.querySelector("#answer-head").textContent.includes("access_denied")`)
	b.click("#stream-rows .decision td:nth-child(3)")
	b.eventually(detail + ` === null`)
	b.eventually(`document.querySelector("#glance .big").textContent === "5 rules"`)
	b.eventually(`document.querySelectorAll("#history svg[role=img]").length === 2`)
}

func TestWebExplain(t *testing.T) {
	b := openPage(t, webPolicy)
	explain := func(says ...string) {
		t.Helper()
		b.click("#question button.main")
		for _, text := range says {
			b.eventually(fmt.Sprintf(`(document.querySelector("#answer-head").textContent + document.querySelector("#answer").textContent).includes(%q)`, text))
		}
	}
	b.set("q-url", "/users")
	explain("missing_token", "The client gets 401", "WWW-Authenticate")
	b.click(`input[value=valid]`)
	b.set("q-scopes", "read:users  admin")
	explain("allow", "The request passes")
	b.set("q-url", "/users/43")
	b.set("q-scopes", "read:users")
	b.set("q-claims", "sub=42")
	explain("access_denied", `path.id == identity.subject`)
	b.set("q-claims", "nonsense")
	explain("claim must be name=value")
	b.set("q-url", "nonsense")
	explain("neither a path nor")
	b.set("q-url", "/users")
	b.click(`input[value=token]`)
	b.set("q-token", "")
	explain("Paste a token")
	token := b.idp.Mint(map[string]any{"sub": "alice", "scope": "read:users"}, nil)
	b.set("q-token", "Bearer "+token)
	explain("The request passes", "checks passed")
	b.eventually(`!document.querySelector("#answer details").open`)
	b.set("q-token", b.idp.Mint(map[string]any{"exp": 1}, nil))
	explain("invalid_token", "expired", "failed")
	b.run(chromedp.ScrollIntoView("#explain"))
	b.screenshot("explain", false)
	for len(b.trouble) > 0 { // the browser notes what is refused
		if what := <-b.trouble; !strings.Contains(what, "400 (Bad Request)") {
			t.Error(what)
		}
	}
	if answer := b.eval(`document.querySelector("main").innerText`).(string); strings.Contains(answer, token[len(token)-20:]) {
		t.Error("the token is shown")
	}
}

// TestWebXSS: what clients and policies write is text, wherever it shows up.
func TestWebXSS(t *testing.T) {
	b := openPage(t, webPolicy+evilRule)
	token := b.idp.Mint(map[string]any{"sub": evil, "scope": "read:users <b>bold</b>", "email": evil}, nil)
	b.ask("GET", "/users?q=<script>", token)
	b.rowsWith(evil, 1)
	b.ask("GET", "/tenants/%3Cimg%20src=x%20onerror=%22window.evil=1%22%3E", token, "x-tenant", evil, "x-request-id", evil, "user-agent", evil)
	b.ask("GET", `/public/<img/src=x/onerror=window.evil=1>`, "", "x-forwarded-for", evil)
	b.eventually(rows + `.length === 3`)
	b.eval(`document.querySelectorAll("#stream-rows .decision").forEach(r => r.click())`)
	b.eventually(`document.querySelectorAll("#stream-rows .detail").length === 3`)
	b.set("q-url", "/tenants/"+strings.ReplaceAll("<img src=x onerror=window.evil=1>", " ", "%20"))
	b.set("q-headers", "x-tenant="+evil)
	b.click(`input[value=valid]`)
	b.set("q-scopes", "<script>window.evil=1</script>")
	b.set("q-claims", "sub="+evil+"\nx="+evil)
	b.click("#question button.main")
	b.eventually(`document.querySelector("#answer").textContent.includes("<img src=x")`)
	b.click(`input[value=token]`)
	b.set("q-token", token)
	b.click("#question button.main")
	b.eventually(`document.querySelector("#answer").textContent.includes("checks passed")`)
	b.eventually(`document.querySelector("#rules-rows").textContent.includes("<script>")`)
	if found := b.eval(`[window.evil, document.querySelectorAll("main img, main script, main b, main [onerror]").length].join()`); found != ",0" {
		t.Errorf("markup of a client's got into the page: %v", found)
	}
	// And if something tried to: neither a script nor markup comes of a string.
	if refused := b.eval(`(() => { try { document.body.innerHTML = "<b>"; return "taken" } catch (e) { return e.name } })()`); refused != "TypeError" {
		t.Errorf("markup from a string: %v", refused)
	}
	for len(b.trouble) > 0 { // which the browser has noted
		if what := <-b.trouble; !strings.Contains(what, "TrustedHTML") {
			t.Error(what)
		}
	}
}

// TestWebLooks: light and dark, wide and narrow, without a mouse, and for a screen reader.
func TestWebLooks(t *testing.T) {
	b := openPage(t, webPolicy)
	axe, err := pypi.Program{
		Name: "axe", Package: "axe-playwright-python", Version: "0.1.8", Binary: "axe_playwright_python/axe.min.js", Variable: "AXE",
		Check: func(_ context.Context, path string) error { _, err := os.Stat(path); return err },
	}.Find(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(axe)
	if err != nil {
		t.Fatal(err)
	}
	good := b.idp.Mint(map[string]any{"sub": "kp_alice", "scope": "read:users"}, nil)
	for range 3 {
		b.ask("GET", "/users", good)
	}
	b.ask("GET", "/users/kp_alice", good)
	b.ask("GET", "/public/hello", "")
	b.ask("GET", "/reports/2026", good)
	b.ask("GET", "/users/kp_bob", good)
	b.ask("POST", "/users", good)
	b.ask("GET", "/users", b.idp.Mint(map[string]any{"exp": 1}, nil))
	b.ask("GET", "/nowhere", good)
	b.ask("GET", "/users", "")
	b.eventually(rows + `.length === 11`)
	b.set("q-url", "/users/kp_bob")
	b.click(`input[value=valid]`)
	b.set("q-scopes", "read:users")
	b.set("q-claims", "sub=kp_alice")
	b.click("#question button.main")
	b.eventually(`document.querySelector("#answer").textContent.includes("access_denied")`)
	b.eventually(`[...document.querySelectorAll("#glance .big")][1].textContent === "11"`)
	b.click("#stream-rows .decision button")
	b.eventually(`document.querySelector("#history-decisions rect.good") !== null && document.querySelector("#history-times polyline") !== null`)
	b.eval(string(script) + "; 1")
	b.eval(`scrollTo(0, 0); document.activeElement.blur()`)
	for _, look := range []struct {
		name, scheme string
		width        int64
	}{{"light", "light", 1280}, {"dark", "dark", 1280}, {"narrow", "light", 360}, {"narrow-dark", "dark", 360}} {
		command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		b.run(chromedp.EmulateViewport(look.width, 900))
		if over := b.eval(`document.documentElement.scrollWidth - innerWidth`).(float64); over > 0 {
			t.Errorf("%s: the page is %v pixels wider than the window: %v", look.name, over,
				b.eval(`[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML.slice(0, 100)).join("\n")`))
		}
		if dark := b.eval(`getComputedStyle(document.body).backgroundColor`); (dark == "rgb(15, 20, 25)") != (look.scheme == "dark") {
			t.Errorf("%s: the background is %v", look.name, dark)
		}
		b.accessible(look.name)
		b.screenshot(look.name, true)
		if look.name == "light" {
			b.screenshot("page", false)
		}
	}
	b.run(chromedp.EmulateViewport(1280, 900))
	b.keyboard()
}

// TestWebTooManyPages: a page whose stream is refused says why, and goes on when there is room.
func TestWebTooManyPages(t *testing.T) {
	b := openPage(t, webPolicy)
	b.run(chromedp.Navigate("about:blank"))
	ctx, closeAll := context.WithCancel(t.Context())
	defer closeAll()
	for {
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+b.s.admin+"/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == http.StatusServiceUnavailable {
			break
		}
	}
	b.run(chromedp.Navigate("http://" + b.s.admin + "/"))
	b.eventually(`document.querySelector("#stream-state").textContent.includes("256 pages are open")`)
	closeAll()
	b.eventually(`document.querySelector("#stream-state").textContent === "Live"`)
	for len(b.trouble) > 0 {
		if what := <-b.trouble; !strings.Contains(what, "503") {
			t.Error(what)
		}
	}
}
