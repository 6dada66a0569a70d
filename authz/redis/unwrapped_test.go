package redis

import "testing"

// TestRefusalsWithinScripts: the reason is Redis's own, whatever its version wraps it in.
func TestRefusalsWithinScripts(t *testing.T) {
	for reply, want := range map[string]string{
		"ERR Error running script (call to f_6537f9): @user_script:11: @user_script: 11: -OOM command not allowed when used memory > 'maxmemory'.": "OOM command not allowed when used memory > 'maxmemory'.",
		"OOM command not allowed when used memory > 'maxmemory'. script: 6537f9, on @user_script:11.":                                              "OOM command not allowed when used memory > 'maxmemory'. script: 6537f9, on @user_script:11.",
		"READONLY You can't write against a read only replica.":                                                                                    "READONLY You can't write against a read only replica.",
		"ERR Error running script (call to f_6537f9): @user_script:3: user_script:3: attempt to index nil":                                         "ERR Error running script (call to f_6537f9): @user_script:3: user_script:3: attempt to index nil",
	} {
		if got := unwrapped(reply); got != want {
			t.Errorf("%q: got %q", reply, got)
		}
	}
}
