package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestCheckSocket(t *testing.T) {
	t.Parallel()
	long := "/" + strings.Repeat("x", 99)
	for listen, want := range map[string]string{
		"{grpc: 'unix:///run/s', socket: {mode: '0666', owner: 'a:b'}}": "",
		"{grpc: 'unix:///run/s', socket: {mode: '660', owner: ':101'}}": "",
		"{grpc: 'unix:///run/s', socket: {owner: '1000'}}":              "",
		"{grpc: 'unix://" + long + "/abcdef'}":                          "", // 107 is what fits
		"{grpc: 'unix://" + long + "/abcdefg'}":                         "1:16: listen.grpc: the path of the Unix socket has 108 bytes, of which the system takes 107",
		"{grpc: 'unix://" + long + "abc/s'}":                            "has 105 bytes, of which the system takes 102",
		"{grpc: 'unix:///run/'}":                                        "1:16: listen.grpc: /run/ is a folder",
		"{grpc: 'unix:///run/s', socket: {mode: 0660}}":                 `mode must be text, not the number 0660: quote it: "0660"`,
		"{grpc: 'unix:///run/s', socket: {mode: '0888'}}":               `1:48: listen.socket.mode: "0888" is no octal mode`,
		"{grpc: 'unix:///run/s', socket: {mode: '7777'}}":               `"7777" is no octal mode`,
		"{grpc: 'unix:///run/s', socket: {mode: '0440'}}":               `with "0440" nobody can connect`,
		"{grpc: 'unix:///run/s', socket: {owner: ':'}}":                 `1:49: listen.socket.owner: ":" is not user:group, user or :group`,
		"{grpc: 'unix:///run/s', socket: {owner: ''}}":                  `"" is not user:group`,
		"{grpc: '127.0.0.1:9191', socket: {mode: '0660'}}":              "listen.socket is for a Unix socket, but listen.grpc is 127.0.0.1:9191",
		"{socket: {mode: '0660'}}":                                      "listen.socket is for a Unix socket, but listen.grpc is 127.0.0.1:9191",
	} {
		_, err := loadText(t, []byte("listen: "+listen+"\nproviders: [{name: a, issuer: 'https://a.example.com', audiences: [a]}]\npolicy: p.yaml\n"))
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: it says %s\nwant: %s", listen, got, want)
		}
	}
}
