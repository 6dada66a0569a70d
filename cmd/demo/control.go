package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"scopeward/cmd/demo/idp"
)

// controlPath is the file by which `demo provider` finds the running demo of this user.
func controlPath() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "scopeward", "demo-control"), nil
}

// runningControl is the file with the control URL of what runs here: the provider of a container, or this user's demo.
func runningControl() (string, error) {
	if dir := os.Getenv("DEMO_DIR"); dir != "" {
		return filepath.Join(dir, controlFile), nil
	}
	return controlPath()
}

// providerActions are what `demo provider` can do: the provider's own actions, and to kill its process.
func providerActions() []string { return append(idp.Actions(), "kill") }

// providerCommand asks the running demo to break or mend its identity provider.
func providerCommand(ctx context.Context, args []string, out io.Writer) error {
	flags := newFlags("demo provider")
	control := flags.String("control", "", "the control `URL` that the demo printed; default: the running demo's")
	if err := parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() != 1 || !slices.Contains(providerActions(), flags.Arg(0)) {
		return usageError{fmt.Errorf("demo provider takes one of: %s", strings.Join(providerActions(), ", "))}
	}
	if *control == "" {
		path, err := runningControl()
		if err != nil {
			return fmt.Errorf("%w; give the --control URL that the demo printed", err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return errors.New("no demo is running: start it with make demo")
		}
		*control = strings.TrimSpace(string(b))
	}
	text, err := idp.Ask(ctx, *control, flags.Arg(0))
	if err != nil {
		return fmt.Errorf("the demo said: %w", err)
	}
	_, err = fmt.Fprintln(out, strings.TrimSpace(text))
	return err
}

// publishControl serves the demo's control port and leaves its URL where providerCommand looks. The command to type is
// longer if another demo of this user runs already, for that one keeps the place.
func (d *demo) publishControl(ctx context.Context, name string) (command string, remove func(), err error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{action}", func(w http.ResponseWriter, r *http.Request) {
		text, err := d.act(r.Context(), r.PathValue("action"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, text)
	})
	mux.HandleFunc("POST /ping", func(http.ResponseWriter, *http.Request) {})
	server, url, err := serveSecretly(mux)
	if err != nil {
		return "", nil, err
	}
	path, err := controlPath()
	if err == nil && !another(ctx, path) {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = writeFile(path, url)
		}
		if err == nil {
			return name + " provider", func() { server.Close(); os.Remove(path) }, nil
		}
	}
	return name + " provider --control " + url, func() { server.Close() }, nil
}

// another says whether a demo answers at the control port that the file names.
func another(ctx context.Context, path string) bool {
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	_, err = idp.Ask(ctx, strings.TrimSpace(string(b)), "ping")
	return err == nil
}

// act does what `demo provider` asks for and returns what to tell the person there.
func (d *demo) act(ctx context.Context, action string) (string, error) {
	switch {
	case action == "up" && d.provider.dead():
		if err := d.provider.start(); err != nil {
			return "", err
		}
	case action == "kill":
		if err := kill(d.provider); err != nil {
			return "", err
		}
	default:
		if _, err := idp.Ask(ctx, d.provider.control(), action); err != nil {
			return "", fmt.Errorf("the identity provider can't be told (%s provider up starts it again): %w", d.name, err)
		}
	}
	d.screen.say("%s", d.screen.paint(bold, "identity provider: "+action))
	return d.hint(ctx, action)
}

func kill(p *provider) error {
	process, err := os.FindProcess(p.pid())
	if err != nil {
		return err
	}
	return process.Kill()
}

// hint says what to try after an action.
func (d *demo) hint(ctx context.Context, action string) (string, error) {
	fresh := "$(cat " + d.tokenFile(newToken) + ")"
	switch action {
	case "up":
		token, err := deviceToken(ctx, d.provider.url, idp.Profile)
		if err != nil {
			return "", err
		}
		d.spare.Store(&token) // for the next fault
		return "The provider is up. Scopeward takes new tokens again, without a restart.", nil
	case "rotate":
		token, err := deviceToken(ctx, d.provider.url, idp.Keys)
		if err != nil {
			return "", err
		}
		return "The provider signs with a new key.\n" +
			request{status: 200, why: "signed by the new key, which Scopeward fetches when it first sees it (at most once in 10 s)", path: "/users"}.render(d.base, fresh), d.saveToken(newToken, token)
	case "drop":
		return "The provider has withdrawn all keys but the newest. Tokens of the older keys end with Scopeward's next fetch of the keys.", nil
	default:
		known := request{path: "/users"}.render(d.base, "$(cat "+d.tokenFile("PROFILE")+")")
		return "The provider is broken (" + action + ").\n" +
			request{status: 503, why: "this token was never seen before, and the provider can't be asked", path: "/users"}.render(d.base, fresh) +
			"\n# 200 if you used this token in the last 5 minutes (its identity is cached), else 503\n" +
			strings.SplitN(known, "\n", 2)[1], d.saveToken(newToken, *d.spare.Load())
	}
}
