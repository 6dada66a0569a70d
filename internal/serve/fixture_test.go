package serve

import (
	"os"
	"path/filepath"
	"testing"

	"scopeward/internal/testenv/pki"
)

const tlsPolicy = "version: 1\nrules:\n  - match: /healthz\n    public: true\n"

// tlsConfig is a configuration whose third line is listen.tls.
func tlsConfig(tls string) string {
	return "listen:\n  grpc: 127.0.0.1:0\n  tls: " + tls +
		"\nproviders: [{name: a, issuer: 'https://a.example.com', audiences: [a]}]\npolicy: [policy.yaml]\n"
}

// tlsFolder has a policy, a certificate and its CA.
func tlsFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ca := pki.NewCA(t, "corporation")
	ca.Issue(t, pki.Leaf{Names: []string{"localhost", "127.0.0.1"}}).Write(t, dir, "good")
	pki.Write(t, filepath.Join(dir, "ca.crt"), ca.PEM)
	pki.Write(t, filepath.Join(dir, "policy.yaml"), []byte(tlsPolicy))
	return dir
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
