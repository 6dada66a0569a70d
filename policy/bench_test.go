package policy

import (
	"fmt"
	"strings"
	"testing"
)

// manyRules is a policy of n rules, as a large API has them.
func manyRules(n int, when string) []byte {
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	for i := range n {
		method := []string{"GET", "POST", "PUT", "DELETE"}[i%4]
		fmt.Fprintf(&b, "  - match: %s /api/v1/resource%d/{id}/part\n    scopes: [read:resource%d]\n", method, i/4, i/4)
		if when != "" {
			fmt.Fprintf(&b, "    when: %s\n", when)
		}
	}
	return []byte(b.String())
}

func benchmarkMatch(b *testing.B, rules int, when string) (*Set, Request) {
	b.Helper()
	set, err := Parse(File{"policy.yaml", manyRules(rules, when)})
	if err != nil {
		b.Fatal(err)
	}
	r, err := NewRequest("GET", "api.example.com", "/api/v1/resource1/42/part?full=1")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	return set, r
}

func BenchmarkMatch(b *testing.B) {
	for _, rules := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("rules=%d", rules), func(b *testing.B) {
			set, r := benchmarkMatch(b, rules, "")
			for b.Loop() {
				if m, err := set.Match("", &r); err != nil || m.Rule() == nil {
					b.Fatal(m, err)
				}
			}
		})
	}
}

func BenchmarkMatchParallel(b *testing.B) {
	set, r := benchmarkMatch(b, 10_000, "")
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if m, err := set.Match("", &r); err != nil || m.Rule() == nil {
				b.Error(m, err)
			}
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	id := &Identity{Subject: "42", Scopes: []string{"openid", "read:resource1"}, Claims: map[string]any{"org_code": "org_1", "roles": []any{"user", "admin"}}}
	for _, bench := range []struct{ name, when string }{
		{"scopes", ""},
		{"when=owner", `path.id == identity.subject || "admin" in identity.scopes`},
		{"when=claims", `has(identity.claims.org_code) && identity.claims.org_code == "org_1" && "admin" in identity.claims.roles`},
		{"when=headers", `request.headers["x-tenant"] == "a" || request.client_ip.startsWith("10.")`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			set, r := benchmarkMatch(b, 10, strings.ReplaceAll(bench.when, "#", ""))
			r.ClientIP, r.Headers = "10.0.0.1", map[string]string{"x-tenant": "b"}
			m, err := set.Match("", &r)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if d := m.Decide(id); d.Code != Allowed {
					b.Fatal(d)
				}
			}
		})
	}
}

func BenchmarkNewRequest(b *testing.B) {
	for _, bench := range []struct{ name, target string }{
		{"plain", "/api/v1/resource1/42/part?full=1"},
		{"escaped", "/api/v1/caf%C3%A9/42/part?full=1"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := NewRequest("GET", "api.example.com:443", bench.target); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, bench := range []struct{ name, when string }{
		{"rules=10000", ""},
		{"rules=10000,when", "path.id == identity.subject"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			data := manyRules(10_000, bench.when)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(File{"policy.yaml", data}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
