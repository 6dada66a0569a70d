package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"scopeward/internal/envoyrun"
	"scopeward/internal/testenv/corpus"
	"scopeward/internal/testenv/pki"
	"scopeward/internal/testenv/tokentest"
)

const (
	serviceName = "scopeward.example.com"
	envoyID     = "spiffe://cluster.local/ns/edge/sa/envoy"
)

// tlsCluster makes an authorization cluster of Envoy's speak TLS. context is a
// CommonTlsContext, without what all have in common.
func tlsCluster(context map[string]any) func(map[string]any) {
	return func(cluster map[string]any) {
		context["alpn_protocols"] = []string{"h2"}
		cluster["transport_socket"] = map[string]any{
			"name": "envoy.transport_sockets.tls",
			"typed_config": map[string]any{
				"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
				"sni":   serviceName, "common_tls_context": context,
			},
		}
	}
}

// trusting is a CommonTlsContext that takes Scopeward's certificates of some CAs,
// and shows those of pairs.
func trusting(authorities []*pki.CA, pairs ...pki.Pair) map[string]any {
	context := map[string]any{"validation_context": validation(authorities)}
	for _, p := range pairs {
		context["tls_certificates"] = []any{certificate(p)}
	}
	return context
}

func validation(authorities []*pki.CA) map[string]any {
	return map[string]any{
		"trusted_ca": map[string]any{"inline_string": string(bundle(authorities...))},
		"match_typed_subject_alt_names": []any{map[string]any{
			"san_type": "DNS", "matcher": map[string]any{"exact": serviceName},
		}},
	}
}

func certificate(p pki.Pair) map[string]any {
	return map[string]any{
		"certificate_chain": map[string]any{"inline_string": string(p.Cert)},
		"private_key":       map[string]any{"inline_string": string(p.Key)},
	}
}

func bundle(authorities ...*pki.CA) []byte {
	var all []byte
	for _, ca := range authorities {
		all = append(all, ca.PEM...)
	}
	return all
}

// mutual is a listen of the configuration, with the files of a secret.
func mutual(secret string) map[string]any {
	return map[string]any{"listen": map[string]any{
		"grpc": "127.0.0.1:0", "admin": "127.0.0.1:0", "tls": map[string]any{
			"cert": secret + "/tls.crt", "key": secret + "/tls.key", "client_ca": secret + "/ca.crt",
			"client_names": []string{"other-envoy.example.com", envoyID},
		},
	}}
}

func serverPair(t *testing.T, ca *pki.CA) pki.Pair {
	t.Helper()
	return ca.Issue(t, pki.Leaf{Names: []string{serviceName}})
}

func clientPair(t *testing.T, ca *pki.CA) pki.Pair {
	t.Helper()
	return ca.Issue(t, pki.Leaf{Names: []string{envoyID}})
}

// TestMutualTLS: an Envoy whose certificate is right gets answers; without them it
// answers 503, and Scopeward's log says why.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	idp, ca, stranger := tokentest.New(t), pki.NewCA(t, "corporation"), pki.NewCA(t, "stranger")
	dir := t.TempDir()
	serverPair(t, ca).Write(t, dir, "tls")
	pki.Write(t, filepath.Join(dir, "ca.crt"), ca.PEM)
	clientPair(t, ca).Write(t, dir, "envoy")
	config := corpus.Configure(t, dir, "jwks", idp, mutual("."), map[string]string{"policy.yaml": usersPolicy})
	s := &system{idp: idp, scopeward: serve(t, "--config", config)}

	own, now := []*pki.CA{ca}, time.Now()
	expired := ca.Issue(t, pki.Leaf{Names: []string{envoyID}, NotBefore: now.Add(-2 * time.Hour), Expiry: now.Add(-time.Hour)})
	tests := []struct {
		name    string
		cluster func(map[string]any)
		reason  string // in the log and the metric; "" if it gets answers
	}{
		{"right", tlsCluster(trusting(own, clientPair(t, ca))), ""},
		{"readme", documentedTLS(t, dir), ""},
		{"dns", tlsCluster(trusting(own, ca.Issue(t, pki.Leaf{Names: []string{"other-envoy.example.com"}}))), ""},
		{"none", tlsCluster(trusting(own)), "no_certificate"},
		{"stranger", tlsCluster(trusting(own, clientPair(t, stranger))), "untrusted"},
		{"other", tlsCluster(trusting(own, ca.Issue(t, pki.Leaf{Names: []string{"spiffe://cluster.local/ns/edge/sa/other"}}))), "name"},
		{"expired", tlsCluster(trusting(own, expired)), "expired"},
		{"distrust", tlsCluster(trusting([]*pki.CA{stranger}, clientPair(t, ca))), "by_client"},
		{"plaintext", nil, "no_tls"},
	}
	var targets []target
	for _, test := range tests {
		targets = append(targets, target{name: test.name, authz: s.grpc, cluster: test.cluster})
	}
	addresses := startEnvoy(t, newUpstream(t).Listener.Addr().String(), targets)
	token := idp.Mint(nil, nil)
	for _, test := range tests {
		s.url = "http://" + addresses[test.name]
		if test.reason == "" {
			s.want(t, "/users", token, 200)
			s.want(t, "/users", "", 401)
			continue
		}
		s.want(t, "/users", token, 503)
		eventually(t, test.name+" is logged", func() bool { return strings.Contains(s.stderr.String(), "reason="+test.reason+" ") })
		if n := s.metric(t, fmt.Sprintf("scopeward_tls_handshake_failures_total{reason=%q}", test.reason)); n < 1 {
			t.Errorf("%s was counted %v times as %s", test.name, n, test.reason)
		}
	}
	s.url = "http://" + addresses["right"]
	s.want(t, "/users", token, 200)
	if out, err := exec.CommandContext(t.Context(), built.scopeward, "healthcheck", "--config", config, "--addr", s.grpc).CombinedOutput(); err != nil {
		t.Errorf("healthcheck: %v: %s", err, out)
	}
	if expiry := time.Unix(int64(s.metric(t, "scopeward_tls_certificate_expiry_timestamp_seconds")), 0); time.Until(expiry).Round(time.Minute) != time.Hour {
		t.Errorf("the metrics say that the certificate expires at %s", expiry)
	}
}

// metric is the value of a metric of one line.
func (s *system) metric(t *testing.T, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(s.page(t, "/metrics"))
	if m == nil {
		t.Fatalf("/metrics lacks %s", name)
	}
	value, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func secretFiles(p pki.Pair, clients ...*pki.CA) map[string][]byte {
	return map[string][]byte{"tls.crt": p.Cert, "tls.key": p.Key, "ca.crt": bundle(clients...)}
}

// bySDS is a CommonTlsContext whose certificate and trust are in files of a folder,
// which Envoy reads again when others are renamed over them.
func bySDS(dir string) map[string]any {
	source := func(name string) map[string]any {
		return map[string]any{"name": name, "sds_config": map[string]any{
			"resource_api_version": "V3", "path_config_source": map[string]any{"path": filepath.Join(dir, name+".json")},
		}}
	}
	return map[string]any{
		"tls_certificate_sds_secret_configs":   []any{source("client")},
		"validation_context_sds_secret_config": source("trust"),
	}
}

func writeSDS(t *testing.T, dir string, p pki.Pair, trusted ...*pki.CA) {
	t.Helper()
	for name, secret := range map[string]map[string]any{"client": {"tls_certificate": certificate(p)}, "trust": {"validation_context": validation(trusted)}} {
		secret["@type"], secret["name"] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", name
		data, err := json.Marshal(map[string]any{"resources": []any{secret}})
		if err != nil {
			t.Fatal(err)
		}
		pki.Write(t, filepath.Join(dir, name+".json"), data)
	}
}

// TestCertificateSwaps: 50 changes of certificate and CA, on both sides and with
// overlapping trust, lose no request, although Envoy makes new connections all the
// time.
func TestCertificateSwaps(t *testing.T) {
	t.Parallel()
	idp, dir := tokentest.New(t), t.TempDir()
	before, ca := pki.NewCA(t, "generation -1"), pki.NewCA(t, "generation 0")
	next := pki.NewCA(t, "generation 1")
	mount := newVolume(t, filepath.Join(dir, "mount"), secretFiles(serverPair(t, ca), before, ca))
	sds := t.TempDir()
	writeSDS(t, sds, clientPair(t, ca), before, ca, next)
	config := corpus.Configure(t, dir, "jwks", idp, mutual("mount"), map[string]string{"policy.yaml": usersPolicy})
	s := &system{idp: idp, dir: dir, scopeward: serve(t, "--config", config)}
	proxy, addresses := runEnvoy(t, newUpstream(t).Listener.Addr().String(), []target{{name: "public", authz: s.grpc, cluster: func(cluster map[string]any) {
		tlsCluster(bySDS(sds))(cluster)
		options := cluster["typed_extension_protocol_options"].(map[string]any)["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"].(map[string]any)
		options["common_http_protocol_options"] = map[string]any{"max_requests_per_connection": 5}
	}}})
	s.url = "http://" + addresses["public"]
	token := idp.Mint(nil, nil)
	s.want(t, "/users", token, 200)

	stop := load(t, s.url+"/users", token)
	for i := range 50 {
		before, ca, next = ca, next, pki.NewCA(t, fmt.Sprintf("generation %d", i+2))
		mount.swap(t, secretFiles(serverPair(t, ca), before, ca))
		eventually(t, "the swap is in force", func() bool { return strings.Count(s.stderr.String(), "the certificates were loaded") == i+1 })
		handshakes := envoyStat(t, proxy, "cluster.public-scopeward.ssl.handshake")
		eventually(t, "Envoy has made a connection by it", func() bool {
			return envoyStat(t, proxy, "cluster.public-scopeward.ssl.handshake") > handshakes
		})
		updates := func() int {
			return min(envoyStat(t, proxy, "sds.client.update_success"), envoyStat(t, proxy, "sds.trust.update_success"))
		}
		last := updates()
		writeSDS(t, sds, clientPair(t, ca), before, ca, next)
		eventually(t, "Envoy's swap is in force", func() bool { return updates() > last })
	}
	stop()
	if n := envoyStat(t, proxy, "cluster.public-scopeward.ssl.connection_error"); n > 0 {
		t.Errorf("%d handshakes failed", n)
	}
	if strings.Contains(s.stderr.String(), "level=ERROR") || strings.Contains(s.stderr.String(), "level=WARN") {
		t.Errorf("the log tells of a fault:\n%s", s.stderr)
	}

	// A swap to a pair that doesn't fit changes nothing but what is said of it.
	broken := secretFiles(serverPair(t, ca), ca)
	broken["tls.key"] = serverPair(t, ca).Key
	mount.swap(t, broken)
	eventually(t, "the broken pair is said", func() bool {
		return strings.Contains(s.page(t, "/readyz"), "tls.key does not fit the certificate") && strings.Contains(s.stderr.String(), "does not fit")
	})
	if s.metric(t, "scopeward_tls_reload_success") != 0 {
		t.Error("the metrics don't say that the pair on disk is broken")
	}
	for range 20 { // several connections
		s.want(t, "/users", token, 200)
	}
}

// envoyStat is the value of one of Envoy's counters.
func envoyStat(t *testing.T, p *envoyrun.Process, name string) int {
	t.Helper()
	page, err := p.Admin(t.Context(), "/stats?filter="+regexp.QuoteMeta(name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(page), "\n") {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// TestSocketFile: the socket is for the process's user and group, and is gone with
// the process.
func TestSocketFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket := filepath.Join(dir, "authz.sock")
	config := corpus.Configure(t, dir, "jwks", tokentest.New(t), map[string]any{"listen": map[string]any{
		"grpc": "unix://" + socket, "admin": "127.0.0.1:0", "socket": map[string]any{"mode": "0600", "owner": fmt.Sprint(os.Getuid())},
	}}, map[string]string{"policy.yaml": usersPolicy})
	s := serve(t, "--config", config)
	info, err := os.Stat(socket)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
	if out := run(t, "healthcheck", "--config", config); out != "SERVING\n" {
		t.Errorf("healthcheck says %s", out)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket is still there")
	}
	missing := run(t, "serve", "--config", config, "--listen", "unix://"+dir+"/none/authz.sock")
	if !strings.Contains(missing, "the folder "+dir+"/none of the socket does not exist; make it") {
		t.Errorf("for a socket in a missing folder it says: %s", missing)
	}
	long := run(t, "serve", "--config", config, "--listen", "unix://"+dir+"/"+strings.Repeat("x", 100))
	if !strings.Contains(long, "of which the system takes 107: choose a shorter one") {
		t.Errorf("for a path that is too long it says: %s", long)
	}
}
