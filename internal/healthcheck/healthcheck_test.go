package healthcheck

import "testing"

func TestReachable(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"0.0.0.0:9191": "127.0.0.1:9191", "[::]:9191": "[::1]:9191", ":9191": "127.0.0.1:9191", "[::ffff:0.0.0.0]:9191": "127.0.0.1:9191",
		"10.0.0.1:9191": "10.0.0.1:9191", "authz:9191": "authz:9191", "unix:///run/s": "unix:///run/s",
	} {
		if got := reachable(address); got != want {
			t.Errorf("%s is asked at %s, want %s", address, got, want)
		}
	}
}
