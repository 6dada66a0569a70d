package audit

import (
	"testing"
	"time"
)

// BenchmarkRecent is what it costs each request that the page can show the latest.
func BenchmarkRecent(b *testing.B) {
	r := NewRecent()
	e := Event{
		Timestamp: time.Unix(1, 0).UTC(), Action: "GET /users/{id}", Success: true, UserID: "kp_c3143a4b50ad43c88e541d9077681782", Code: "allow",
		Scopes: []string{"openid", "read:users", "write:users"}, Rule: "policy.yaml:7:5", Method: "GET", Host: "api.example.com", Path: "/users/42",
		ClientIP: "192.0.2.7", RequestID: "0af76519-16cd-43dd-8448-eb211c80319c", Provider: "main", Cache: "hit", DurationMS: 0.02,
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Add(&e)
	}
}
