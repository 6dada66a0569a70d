package login

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// login runs the flow at a server, in a time of its own.
func (s *server) login(o Options) (token, screen string, err error) {
	var out bytes.Buffer
	o.Transport, o.Screen.Out = s, &out
	if o.Issuer == "" {
		o.Issuer = issuer
	}
	o.ClientID = "cli"
	token, err = Run(s.t.Context(), o)
	return token, out.String(), err
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, oauthError("authorization_pending"), oauthError("authorization_pending"), good())
		got, screen, err := s.login(Options{Scopes: []string{"openid", "read:users"}, Audience: "https://api.example.com"})
		if err != nil || got != accessToken {
			t.Fatalf("%q, %v", got, err)
		}
		if strings.Contains(screen, accessToken) || strings.Contains(screen, "secret-device-code") {
			t.Errorf("a secret on the screen:\n%s", screen)
		}
		for _, want := range []string{"https://id.example.com/go\n", "WDJB-MJHT", "Waiting until "} {
			if !strings.Contains(screen, want) {
				t.Errorf("no %q in:\n%s", want, screen)
			}
		}
		want := "0s /device audience=https%3A%2F%2Fapi.example.com&client_id=cli&scope=openid+read%3Ausers"
		if s.asked[0] != want {
			t.Errorf("asked\n%s, want\n%s", s.asked[0], want)
		}
		if diff := cmp.Diff([]int{5, 10, 15}, s.times()); diff != "" {
			t.Errorf("polls (-want +got):\n%s", diff)
		}
	})
}

// TestPolls: each answer to a poll, and when the next one comes.
func TestPolls(t *testing.T) {
	pending, lost := oauthError("authorization_pending"), errors.New("connection reset by peer")
	for name, c := range map[string]struct {
		polls []any
		times []int
		want  string // of the error; none if empty
		say   string // on the screen
	}{
		"slow_down holds":       {[]any{oauthError("slow_down"), pending, good()}, []int{5, 15, 25}, "", ""},
		"twice":                 {[]any{oauthError("slow_down"), oauthError("slow_down"), good()}, []int{5, 15, 30}, "", ""},
		"the network fails":     {[]any{lost, good()}, []int{5, 15}, "", "connection reset by peer; it is tried again"},
		"the provider fails":    {[]any{502, 503, good()}, []int{5, 15, 30}, "", "the provider answers 502"},
		"too many requests":     {[]any{429, good()}, []int{5, 15}, "", "the provider answers 429"},
		"denied":                {[]any{pending, oauthError("access_denied")}, []int{5, 10}, "the request was denied", ""},
		"expired, it says":      {[]any{oauthError("expired_token")}, []int{5}, "the code has expired", ""},
		"an unknown code":       {[]any{oauthError("invalid_grant")}, []int{5}, "does not know the code any more", ""},
		"the client may not":    {[]any{oauthError("unauthorized_client")}, []int{5}, `the client "cli" may not use`, ""},
		"another error":         {[]any{object{"error": "odd", "error_description": "a\x1b[2Jb"}}, []int{5}, `refuses with "odd"; the provider says: "a\x1b[2Jb"`, ""},
		"an error without JSON": {[]any{404}, []int{5}, "answers 404, and not as OAuth does", ""},
		"no token":              {[]any{object{"token_type": "bearer"}}, []int{5}, "answers, but not as OAuth does", ""},
		"no bearer token":       {[]any{object{"access_token": accessToken, "token_type": "DPoP"}}, []int{5}, `of the type "DPoP"`, ""},
		"a token with a break":  {[]any{object{"access_token": "a\r\nb", "token_type": "bearer"}}, []int{5}, "can't be sent", ""},
		"a scope less":          {[]any{object{"access_token": accessToken, "token_type": "bearer", "scope": "openid"}}, []int{5}, "", `did not grant "read:users"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, c.polls...)
				got, screen, err := s.login(Options{Scopes: []string{"openid", "read:users"}})
				mustSay(t, err, c.want)
				if c.want == "" && got != accessToken || strings.Contains(screen, accessToken) {
					t.Errorf("token %q, screen\n%s", got, screen)
				}
				if diff := cmp.Diff(c.times, s.times()); diff != "" {
					t.Errorf("polls (-want +got):\n%s", diff)
				}
				if !strings.Contains(screen, c.say) {
					t.Errorf("no %q in:\n%s", c.say, screen)
				}
			})
		})
	}
}

// TestOverTLS is the flow in real time and over a real connection.
func TestOverTLS(t *testing.T) {
	t.Parallel()
	s := newServer(t, oauthError("authorization_pending"), good())
	real := httptest.NewTLSServer(http.HandlerFunc(s.serve))
	defer real.Close()
	s.metadata = object{"issuer": real.URL + "/tenant", "device_authorization_endpoint": real.URL + "/device", "token_endpoint": real.URL + "/token"}
	s.device.(object)["interval"] = 1
	o := Options{Issuer: real.URL + "/tenant", ClientID: "cli", Screen: Screen{Out: io.Discard}}
	_, err := Run(t.Context(), o)
	mustSay(t, err, "certificate signed by unknown authority")
	o.Transport = real.Client().Transport
	got, err := Run(t.Context(), o)
	mustSay(t, err, "")
	if got != accessToken || len(s.times()) != 2 {
		t.Errorf("%q after the polls %v", got, s.times())
	}
}

func mustSay(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Error(err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error %v, want %s", err, want)
	case err != nil && (strings.Contains(err.Error(), accessToken) || strings.Contains(err.Error(), "secret-device-code") || strings.Contains(err.Error(), "\x1b")):
		t.Errorf("a secret or a control in %v", err)
	}
}

func TestNobodyComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, oauthError("authorization_pending"))
		start := time.Now()
		_, _, err := s.login(Options{})
		mustSay(t, err, "the code has expired before anybody allowed it")
		if took := time.Since(start); took != 10*time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(12*time.Second, cancel)
		var out bytes.Buffer
		_, err := Run(ctx, Options{Issuer: issuer, ClientID: "cli", Transport: newServer(t, oauthError("authorization_pending")), Screen: Screen{Out: &out, Columns: 100}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if !strings.HasSuffix(out.String(), eraseLine) {
			t.Errorf("the line with the time is still there: %q", out.String()[max(0, out.Len()-80):])
		}
	})
}

// TestDiscovery: what metadata may say, and what of it is refused.
func TestDiscovery(t *testing.T) {
	const rfc8414 = "/.well-known/oauth-authorization-server/tenant"
	for name, c := range map[string]struct {
		issuer  string
		change  object
		place   string
		options Options
		want    string
	}{
		"RFC 8414":             {place: rfc8414},
		"another issuer":       {change: object{"issuer": "https://evil.example"}, want: `are of the issuer "https://evil.example"`},
		"a slash":              {change: object{"issuer": issuer + "/"}, want: "write the issuer as the metadata do"},
		"no issuer":            {change: object{"issuer": nil}, want: "is no metadata"},
		"no device flow":       {change: object{"device_authorization_endpoint": nil}, want: "does not offer the device authorization flow"},
		"it comes by a flag":   {change: object{"device_authorization_endpoint": nil}, options: Options{Endpoints: Endpoints{Device: "https://id.example.com/device"}}},
		"no token endpoint":    {change: object{"token_endpoint": nil}, want: "give --token-endpoint"},
		"no metadata":          {place: "/elsewhere", want: "publishes no metadata: both of its well-known places answer 404; is it the issuer?"},
		"none needed":          {place: "/elsewhere", options: Options{Endpoints: Endpoints{Device: "https://id.example.com/device", Token: "https://id.example.com/token"}}},
		"an open endpoint":     {change: object{"token_endpoint": "http://id.example.com/token"}, want: "a token_endpoint that is not used: it is not encrypted"},
		"no URL":               {change: object{"device_authorization_endpoint": "javascript:alert(1)"}, want: "a device_authorization_endpoint that is not used: it is not a URL"},
		"an open issuer":       {issuer: "http://id.example.com", want: "it is not encrypted"},
		"an issuer with query": {issuer: issuer + "?a=b", want: "has a query"},
		"a user in the issuer": {issuer: "https://u:s3cret@id.example.com", want: "it has a user name"},
		"a path alone":         {issuer: "id.example.com", want: "it is not a URL with https://"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, good())
				if c.place != "" {
					s.place = c.place
				}
				maps.Copy(s.metadata, c.change)
				c.options.Issuer = c.issuer
				_, _, err := s.login(c.options)
				mustSay(t, err, c.want)
				if c.want != "" && len(s.asked) > 0 {
					t.Errorf("it was asked all the same: %v", s.asked)
				}
			})
		})
	}
}

// TestTheFirstAnswer: what a provider may say when it is asked for a code.
func TestTheFirstAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		answer any
		change object
		want   string
	}{
		"a wrong client":       {answer: object{"error": "invalid_client"}, want: `does not know the client ID "cli"`},
		"no such scope":        {answer: object{"error": "invalid_scope"}, want: "refuses a scope"},
		"no such audience":     {answer: object{"error": "invalid_target"}, want: "refuses the audience"},
		"not there":            {answer: 405, want: "answers 405"},
		"it redirects":         {answer: "https://evil.example/x", want: `it redirects to "https://evil.example/x", which is not followed`},
		"nothing":              {answer: object{}, want: "gives no device_code"},
		"the network fails":    {answer: errors.New("connection refused"), want: "can't be asked: connection refused"},
		"a code with a colour": {change: object{"user_code": "\x1b[31mA"}, want: "control characters"},
		"no web address":       {change: object{"verification_uri_complete": "file:///etc/passwd"}, want: "no browser should open"},
		"a negative interval":  {change: object{"interval": -1}, want: "every -1 seconds"},
		"an endless code":      {change: object{"expires_in": 1 << 40}, want: "expires_in"},
		"no end":               {change: object{"expires_in": nil}},
		"no interval":          {change: object{"interval": nil}},
		"no complete address":  {change: object{"verification_uri_complete": nil}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, good())
				maps.Copy(s.device.(object), c.change)
				if c.answer != nil {
					s.device = c.answer
				}
				_, _, err := s.login(Options{})
				mustSay(t, err, c.want)
			})
		})
	}
}

func TestClocks(t *testing.T) {
	for ahead, want := range map[time.Duration]string{
		2 * time.Hour: "is 2h0m0s behind the provider's", -5 * time.Minute: "is 5m0s ahead of the provider's", 20 * time.Second: "", 0: "",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, good())
			s.date = ahead
			_, screen, err := s.login(Options{})
			if err != nil || !strings.Contains(screen, want) || want == "" && strings.Contains(screen, "clock") || strings.Count(screen, "clock") > 1 {
				t.Errorf("%s: %v\n%s", ahead, err, screen)
			}
		})
	}
}

// TestTerminal: the QR code, the time left and the browser.
func TestTerminal(t *testing.T) {
	run := func(t *testing.T, columns int, colour bool) (screen, opened string) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, http.StatusBadGateway, good())
			o := Options{Screen: Screen{Columns: columns, Colour: colour}, Open: func(address string) error { opened = address; return errors.New("no display") }}
			var err error
			if _, screen, err = s.login(o); err != nil {
				t.Error(err)
			}
		})
		return screen, opened
	}
	screen, opened := run(t, 100, true)
	if opened != "https://id.example.com/go?c=WDJB-MJHT" {
		t.Errorf("opened %s", opened)
	}
	for _, want := range []string{onDark + "█", bold + "WDJB-MJHT", "Waiting for you, 10:00 left.", "9:58 left", "Trying again: the provider answers 502", "no display; open the address yourself"} {
		if !strings.Contains(screen, want) {
			t.Errorf("no %q in:\n%s", want, screen)
		}
	}
	if narrow, _ := run(t, 30, true); strings.Contains(narrow, "█") {
		t.Errorf("a QR code where it has no room:\n%s", narrow)
	}
	grey, _ := run(t, 100, false)
	if strings.Contains(grey, "\x1b[1m") || strings.Contains(grey, onDark) || !strings.Contains(grey, "█") {
		t.Errorf("colours, or no QR code:\n%s", grey)
	}
	if none, _ := run(t, 0, false); strings.ContainsAny(none, "█\x1b\r") {
		t.Errorf("not for a file:\n%q", none)
	}
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, mode := range map[string]os.FileMode{"wide": 0o644, "narrow": 0o400} {
		if err := os.WriteFile(at(name), []byte("old"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(at("wide"), at("link")), os.Symlink(at("nowhere"), at("dangling"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"link": "symbolic link", "dangling": "symbolic link", ".": "is not a file"} {
		mustSay(t, Savable(at(name)), want)
		mustSay(t, Save(at(name), accessToken), want)
	}
	mustSay(t, Savable(at("no/folder")), "there is no folder")
	if old, _ := os.ReadFile(at("wide")); string(old) != "old" {
		t.Errorf("written through a link: %s", old)
	}
	for name, want := range map[string]os.FileMode{"new": 0o600, "wide": 0o600, "narrow": 0o400} {
		mustSay(t, Savable(at(name)), "")
		mustSay(t, Save(at(name), accessToken), "")
		info, err := os.Stat(at(name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		if got, _ := os.ReadFile(at(name)); string(got) != accessToken+"\n" {
			t.Errorf("%s holds %q", name, got)
		}
	}
	if left, _ := filepath.Glob(at(".token-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
